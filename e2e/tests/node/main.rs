//! Cases on nodes: agents on real kernels, with packets counted on the outside.
//!
//! `cargo test -p postern-e2e --test node MODULE::`, as root, runs the cases of one module.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure; cases use parts of the helpers"
)]

mod ablation;
mod answers;
mod attacks;
mod bursts;
mod circuits;
mod connectivity;
mod counter;
mod documents;
mod explain;
mod external;
mod failover;
mod fields;
mod gateways;
mod guarded;
mod holes;
mod holes_frames;
mod holes_pod;
mod holes_tunnel;
mod incapable;
mod intents;
mod isolation;
mod kept;
mod lab;
mod leaks;
mod leaks_objects;
mod leaks_policies;
mod limits;
mod machine;
mod names;
mod observe;
mod one_family;
mod opening;
mod pod_start;
mod probes;
mod records;
mod refused_batch;
mod release;
mod resolvers;
mod terms;
mod tiers;
mod unselected;
mod uplink;
