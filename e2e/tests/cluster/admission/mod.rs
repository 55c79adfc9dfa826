//! What a real API server lets in: users' objects by schema and rules, programs by the admission policies and rights of
//! `deploy/base`.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster admission::`, as root; the first run builds Kubernetes.

mod bounds;
mod caller;
mod cluster;
mod definitions;
mod first_status;
mod host_network;
mod intents;
mod namespace_label;
mod reports;
mod rights;
mod rules;
mod taint;
