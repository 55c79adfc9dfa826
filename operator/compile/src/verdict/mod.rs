//! What is said about each resource: conditions and counts, as values. Whoever calls writes them where they belong.

mod detail;
mod exceptions;
mod exit;
mod isolation;
mod node;
mod path;
mod policy;
mod progress;
mod seen;
mod verdicts;

pub use detail::{ClientCounts, Detail, GatewayLine, GatewayRole, NodeCounts, Verdict};
use path::{Jury, PathFaults, fresh};
use progress::{Concerned, Progress, silent};
pub(crate) use verdicts::verdicts;
