//! Findings as the conditions of a status. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_crds::conditions::{ConditionType, Finding, set};

/// Findings as conditions of these kinds, in their order, with the times of those that are there already.
pub(super) fn folded(
    kinds: &[ConditionType],
    findings: impl IntoIterator<Item = Finding>,
    (old, generation): (&[Condition], Option<i64>),
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = kinds
        .iter()
        .filter_map(|kind| old.iter().find(|entry| entry.type_ == kind.as_str()))
        .cloned()
        .collect();
    for finding in findings {
        set(&mut conditions, &finding, generation, now);
    }
    let place = |entry: &Condition| kinds.iter().position(|kind| kind.as_str() == entry.type_);
    conditions.sort_by_key(place);
    conditions
}
