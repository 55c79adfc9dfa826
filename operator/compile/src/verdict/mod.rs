//! What is said about each resource: conditions and counts, as values. Whoever calls writes them where they belong.

mod all;
mod exit;
mod isolation;
mod node;
mod policy;
mod seen;
mod words;

pub(crate) use all::verdicts;
use all::{is_programmed, reason};
pub use words::{Detail, GatewayLine, GatewayRole, NodeCounts, Verdict};
