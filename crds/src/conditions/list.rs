//! How a list of conditions is kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::{ConditionType, Reason};

/// Longest message that the schema takes, in characters.
const MESSAGE_LIMIT: usize = 4096;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionStatus {
    True,
    False,
    /// It is not decided yet.
    Unknown,
}

impl ConditionStatus {
    /// The status as it stands in a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What was found about one condition, before it is known when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: ConditionType,
    pub state: ConditionStatus,
    pub reason: Reason,
    /// Why, for people; cut at 4096 characters.
    pub message: String,
}

impl Finding {
    #[must_use]
    pub fn yes(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(kind, ConditionStatus::True, reason, message)
    }

    /// It does not hold.
    #[must_use]
    pub fn no(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(kind, ConditionStatus::False, reason, message)
    }

    /// It is not decided yet.
    #[must_use]
    pub fn unknown(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self::new(kind, ConditionStatus::Unknown, reason, message)
    }

    fn new(
        kind: ConditionType,
        state: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            state,
            reason,
            message: message.into(),
        }
    }
}

/// Puts a finding into a list of conditions.
///
/// `lastTransitionTime` stays as it was while the status stays as it was, also when reason or message
/// change; else it becomes `now` in whole seconds, because `metav1.Time` has no finer form and a
/// fraction would make the object differ from itself after one round through the API server.
/// `generation` is the `metadata.generation` that was looked at.
pub fn set(
    conditions: &mut Vec<Condition>,
    finding: &Finding,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = finding.state.as_str();
    let began = find(conditions, finding.kind)
        .filter(|old| old.status == status)
        .map_or_else(
            || Time(whole_second(now)),
            |old| old.last_transition_time.clone(),
        );
    let entry = Condition {
        type_: finding.kind.into(),
        status: status.to_owned(),
        reason: finding.reason.into(),
        message: finding.message.chars().take(MESSAGE_LIMIT).collect(),
        last_transition_time: began,
        observed_generation: generation,
    };
    match conditions
        .iter_mut()
        .find(|old| old.type_ == finding.kind.as_str())
    {
        Some(old) => *old = entry,
        None => conditions.push(entry),
    }
}

fn whole_second(now: Timestamp) -> Timestamp {
    // The number of seconds of a time stamp is in range by construction, so the fallback is never taken.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The condition of that type.
#[must_use]
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|entry| entry.type_ == kind.as_str())
}

/// Whether the condition is there and holds.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|entry| entry.status == ConditionStatus::True.as_str())
}

/// Whether the condition was found for this generation or a later one; a stale one says nothing.
#[must_use]
pub fn is_current(condition: &Condition, generation: i64) -> bool {
    condition
        .observed_generation
        .is_some_and(|observed| observed >= generation)
}
