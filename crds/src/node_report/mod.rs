//! `NodeReport`: what one node's agent saw. Internal; only that agent writes its status.
#![allow(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema repeats each struct inside a function, where its pub reaches nobody; every printer column has a type_ of its own"
)]

mod detail;
mod isolation;
mod path;
mod scope;
mod spec;

pub use detail::{
    AppliedPods, Capabilities, Difference, KeyProof, Mismatch, PROOFS_LISTED, PublicKeys, Refusal,
    TunnelKind,
};
pub use isolation::{IsolationReport, IsolationState};
pub use path::{AddressFamily, ExitReport, PathHop, PathReport, PathState, ServedReport};
pub use scope::{
    DeniedCount, OBSERVED_LISTED, Posture, RESOLVERS_LISTED, ResolverState, RuleCount, ScopePods,
    ScopePolicy, ScopeReport, ScopeState,
};
pub use spec::{
    GUARDED_LISTED, NodeReport, NodeReportSpec, NodeReportStatus, SCOPES_LISTED, SERVED_LISTED,
};
