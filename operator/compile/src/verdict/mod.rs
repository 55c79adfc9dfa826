//! The verdict on each resource: conditions and counts, as values. The caller writes them.

mod cluster_policy;
mod detail;
mod exceptions;
mod exit;
mod isolation;
mod node;
mod path;
mod policy;
mod policy_reading;
mod progress;
mod verdicts;

pub use detail::{Detail, ExitClientCounts, GatewayLine, Verdict};
use path::{ClientQuorum, PathFaults, fresh};
use progress::{ConcernedNodes, Progress, silent};
pub(crate) use verdicts::verdicts;
