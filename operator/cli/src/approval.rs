//! What waits for an approval, and the words of giving one, wherever approvals are kept.

use postern_compile::gate::{ApprovalSubject, PendingApproval};

use crate::output::table;

/// How many characters of a digest people are shown: enough to compare it with an Event's.
const DIGITS: usize = 12;

/// Whether something is done or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Written,
    /// Everything is judged and nothing is written.
    Trial,
}

/// What became of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalEntry {
    New,
    /// It was there already; nothing was changed.
    Already,
}

/// What waits, for people.
#[must_use]
pub fn held_table(held: &[PendingApproval]) -> String {
    if held.is_empty() {
        return "nothing waits for an approval".to_owned();
    }
    let rows = held.iter().map(|held| {
        let (kind, name) = match &held.subject {
            ApprovalSubject::Policy(name) => ("policy", name.clone()),
            ApprovalSubject::Namespace(name) => ("namespace", name.to_string()),
            ApprovalSubject::Node(name) => ("node", name.to_string()),
        };
        vec![
            kind.to_owned(),
            name,
            held.cause.to_string(),
            held.pods.to_string(),
            held.since.to_string(),
            held.digest.chars().take(DIGITS).collect(),
        ]
    });
    table(
        &["HELD", "NAME", "CAUSE", "PODS", "SINCE", "DIGEST"],
        &rows.collect::<Vec<_>>(),
    )
}
