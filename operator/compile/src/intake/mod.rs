//! From Kubernetes objects to what the compiler reads: parsed once, judged once. A caller that has objects, from an API
//! server or from files, comes through here.

mod cluster_policy;
mod error;
mod exit;
mod isolation;
mod name;
mod objects;
mod policy;
mod report;

pub use cluster_policy::cluster_policy;
pub use error::IntakeError;
pub use exit::{exit, exit_of};
pub use isolation::isolation;
pub use name::name;
pub use objects::{namespace, node, pod, service};
pub use policy::policy;
pub use report::{ProofCheck, report};

use postern_crds::conditions::Reason;

use crate::snapshot::SpecRefusal;

/// A refusal because a value cannot be used.
fn invalid(message: impl Into<String>) -> SpecRefusal {
    SpecRefusal {
        reason: Reason::Invalid,
        message: message.into(),
    }
}
