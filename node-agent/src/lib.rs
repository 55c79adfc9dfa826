//! The node agent: verifies intents, enforces them, reads the kernel back and reports.
//!
//! ```text
//! inbox -> verify -> body --.          reading <- observe
//! control socket -> bindings -> desired -> plan <----'       (pure)
//!                                           v
//!       apply -> observe again -> check (core::read_back) -> lease -> scope status -> report
//! ```
//!
//! | module | for |
//! |---|---|
//! | [`options`] | the command line |
//! | [`clock`] | what "now" is on a node whose clock may be turned back |
//! | [`files`] | files that survive a crash |
//! | [`ledger`] | what must not be forgotten: last intent, serial, keys, release |
//! | [`inbox`] | documents as they arrive from their source |
//! | [`document_folder`] | the source that is a folder, and the copy of another source |
//! | [`bindings`] | who is behind which interface, durable |
//! | [`agent`] | the loop: one activation, one reconcile, one status |
//! | [`control`] | the socket on the node |
//! | [`apiserver`] | the source that is the API server, and the sink of reports to it |
//! | [`trust`] | keys given at installation |
//! | [`report`], [`audit`], [`metrics`] | reports and the file of the last one, the transition log, metrics |
//! | [`dns`] | the node's DNS forwarder |
//! | `latest` | channels that carry the latest value |
//! | [`resolver`] | what the forwarder is told, and what it asks the node |
//! | [`probe`] | whether exits carry |
//! | [`endpoints`] | addresses of servers outside of the cluster |
//! | [`egress`] | the only code that gives the node egress addresses |
//! | [`isolation`] | the only code that changes the state of uplinks |
//! | [`preflight`] | what this node can and cannot do |
//! | [`cleanup`] | the node as it was before |

pub mod agent;
pub mod apiserver;
pub mod audit;
pub mod bindings;
pub mod cleanup;
pub mod clock;
pub mod control;
pub mod dns;
pub mod document_folder;
pub mod egress;
pub mod endpoints;
pub mod files;
pub mod grants;
pub mod inbox;
pub mod isolation;
mod latest;
pub mod ledger;
pub mod limits;
pub mod metrics;
pub mod options;
pub mod preflight;
pub mod probe;
pub mod records;
pub mod report;
pub mod resolver;
pub mod trust;
pub mod wireguard_key;
