//! How things stand in a cluster, by what its objects say. Pure: the objects and the time are given.
//!
//! Each line has a finding where not everything is as asked for, and none where it is: what people read, what programs
//! read and the exit code are one value.

mod conditions;
mod exits;
mod nodes;
mod overview;
mod paths;
mod policies;

pub use conditions::Finding;
pub use exits::ExitLine;
pub use nodes::NodeLine;
pub use overview::Standing;
pub use paths::{PathLine, PathRole};
pub use policies::PolicyLine;
