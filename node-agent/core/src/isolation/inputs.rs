//! What a turn depends on besides the memory.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_intent::body::Isolation;
use postern_plan::host::ObservedLink;

/// Something on the node whose loss locks an operator out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteUse {
    ApiServer,
    Ssh,
}

/// What came of the question whether what must answer does. Of a question that was asked in an earlier phase nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ConfirmAnswer {
    /// It was not asked yet, or there is no answer yet.
    #[default]
    Awaited,
    Answered,
    Silent,
}

/// Everything that a turn depends on besides the memory.
#[derive(Debug, Clone, Copy)]
pub struct IsolationInputs<'a> {
    pub isolation: &'a Isolation,
    pub links: &'a [ObservedLink],
    /// Links that have a radio.
    pub wireless: &'a BTreeSet<String>,
    /// The node's setting: links behind which pods are.
    pub pod_links: &'a [String],
    /// Links that carry a remote session, by name.
    pub remote: &'a BTreeMap<String, RemoteUse>,
    pub answer: ConfirmAnswer,
    pub now: Timestamp,
}
