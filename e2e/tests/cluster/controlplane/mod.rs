//! The lab on a real API server: it comes up, cases disturb it, and it leaves nothing behind.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster controlplane::`, as root; the first run builds Kubernetes.

mod disturbances;
mod objects;
mod start;
