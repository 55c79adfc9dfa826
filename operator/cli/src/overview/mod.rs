//! The state of policies, rules of administrators, exits and nodes of a cluster, by what its objects say. Pure: the objects and the time are given.
//!
//! Each line has a finding where not everything is as asked for, and none where it is: what people read, what programs
//! read and the exit code are one value.

mod cluster;
mod conditions;
mod exits;
mod nodes;
mod paths;
mod policies;
mod tiers;

pub use cluster::ClusterOverview;
pub(crate) use conditions::Conditions;
pub use conditions::LineFinding;
pub use exits::ExitLine;
pub use nodes::NodeLine;
pub use paths::{PathLine, PathRole};
pub use policies::PolicyLine;
pub use tiers::TierLine;
