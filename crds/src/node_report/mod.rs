//! `NodeReport`: what one node's agent saw. Internal; only that agent writes its status.

mod detail;
mod scope;
mod spec;

pub use detail::{
    AppliedPods, Capabilities, Difference, ExitReport, Mismatch, PublicKeys, Refusal, TunnelKind,
};
pub use scope::{Posture, ScopePods, ScopePolicy, ScopeReport, ScopeState};
pub use spec::{NodeReport, NodeReportSpec, NodeReportStatus};
