//! What a real API server lets in: users' objects by schema and rules, programs by the admission policies and rights of
//! `deploy/base`.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster_admission`, as root; the first run builds Kubernetes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

mod bounds;
mod caller;
mod cluster;
mod definitions;
mod host_network;
mod intents;
#[path = "../plane/mod.rs"]
mod plane;
mod reports;
mod rights;
mod rules;
#[path = "../../../crds/tests/api/samples.rs"]
#[expect(dead_code, reason = "the definitions' own tests use all of it")]
mod samples;
mod taint;
