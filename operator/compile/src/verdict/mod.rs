//! What is said about each resource: conditions and counts, as values. Whoever calls writes them where they belong.

mod all;
mod exceptions;
mod exit;
mod isolation;
mod node;
mod path;
mod policy;
mod progress;
mod seen;
mod words;

use all::reason;
pub(crate) use all::verdicts;
use path::{Jury, PathFaults, fresh};
use progress::{Concerned, Progress, silent};
pub use words::{ClientCounts, Detail, GatewayLine, GatewayRole, NodeCounts, Verdict};
