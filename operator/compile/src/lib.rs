//! The pure compiler: a [`Snapshot`] of the cluster in, one intent for each node and a verdict on each resource out.
//!
//! No clock, no client, no file: the same snapshot always gives the same [`Compilation`], in whatever order its
//! lists are.
//!
//! | module | for |
//! |---|---|
//! | [`snapshot`] | what is read |
//! | [`intake`] | from Kubernetes objects to what is read |
//! | [`gate`] | what may be released, and what waits for a person |
//! | [`verdict`] | what is said about each resource |
//! | [`explain`] | why a pod leaves as it does |
//! | [`publish`] | from a compilation to the writes of a publisher, in their order |
//!
//! Inside: `index` (sorted lookups), `pins` (WireGuard keys), `select` and `assign` (pod to policy), `baseline` (the
//! policies of pods that no EgressPolicy selects), `resolve`
//! (names to what they stand for), `allocate` (numbers), `lower` (one file for each section), `shared` (the document for all nodes), `budget`,
//! `memory_budget` (what a namespace may have remembered), `screen` (what contradicts the cluster), `serial`, `refresh`, `remember`.

mod allocate;
mod assign;
mod baseline;
mod budget;
mod compile;
pub mod explain;
mod first_names;
pub mod gate;
mod index;
pub mod intake;
mod lower;
mod memory_budget;
mod pins;
pub mod publish;
mod refresh;
mod remember;
mod resolve;
mod screen;
mod select;
mod serial;
mod settled;
mod shared;
pub mod snapshot;
pub mod verdict;

pub use assign::PolicyPodCounts;
pub use baseline::{baseline_of, baseline_policies};
pub use compile::{Compilation, compile};
pub use first_names::first_names;
pub use memory_budget::NAMESPACE_BUDGET;
pub use pins::CHANGE_INTERVAL;
pub use settled::NodeOutcome;
pub use shared::ClusterOutcome;
pub use snapshot::Snapshot;
