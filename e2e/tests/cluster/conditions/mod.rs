//! Conditions, columns of `kubectl get` and Events of the users' objects on a real API server: which generation is
//! programmed, what cannot be done and why, and which policy decides about a pod.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster conditions::`, as root; the first run builds Kubernetes.

mod change;
mod exit;
mod incapable;
mod node;
mod reading;
mod refusal;
mod selection;
