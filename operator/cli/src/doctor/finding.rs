//! One thing that is wrong.

use serde::Serialize;

/// How grave a finding is, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Gravity {
    /// Pods leave, or may leave, otherwise than was asked for.
    Open,
    /// Pods that should have a way out have none.
    Blocked,
    /// The promise holds, and a part that it depends on is missing, late or about to run out.
    Degraded,
    /// Worth knowing.
    Notice,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DoctorFinding {
    pub gravity: Gravity,
    /// Why, as one word: that of a condition, or one that is in docs/operation.md.
    pub reason: String,
    /// Kind of the objects.
    pub kind: &'static str,
    /// The objects that it is about, by name.
    pub objects: Vec<String>,
    /// A sentence, about the first of them.
    pub message: String,
    /// What to do.
    pub action: String,
}

impl DoctorFinding {
    pub(super) fn of(
        gravity: Gravity,
        reason: &str,
        object: (&'static str, &str),
        message: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self {
            gravity,
            reason: reason.to_owned(),
            kind: object.0,
            objects: vec![object.1.to_owned()],
            message: message.into(),
            action: action.into(),
        }
    }
}
