//! Cases on a real API server: operators, agents, and the status that they give to objects.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster MODULE::`, as root, runs the cases of one module; the
//! first run builds Kubernetes.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure; cases use parts of the helpers"
)]

mod admission;
#[path = "../../../crds/tests/api/case_files.rs"]
mod case_files;
mod chart;
mod conditions;
mod controlplane;
mod crowd;
mod ctl;
mod egress;
mod ends;
mod kubelets;
mod leaders;
mod line;
mod lost_key;
mod manifests;
mod monitoring;
mod namespace;
mod operation;
mod overlay;
mod plane;
mod records;
mod restored;
#[path = "../../../crds/tests/api/samples.rs"]
mod samples;
mod sandboxes;
mod settings;
mod stale;
mod tenants;
mod tiers;
mod traces;
