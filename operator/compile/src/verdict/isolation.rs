use postern_crds::conditions::{ConditionType, Finding};

use super::{Detail, Verdict};
use crate::snapshot::SnapshotIsolation;

/// The verdict on one isolation.
pub(super) fn verdict(isolation: &SnapshotIsolation) -> Verdict {
    let refusal = &isolation.refusal;
    Verdict {
        kind: "InterfaceIsolation",
        namespace: None,
        name: isolation.name.clone(),
        generation: Some(isolation.generation),
        conditions: vec![Finding::no(
            ConditionType::Accepted,
            refusal.reason,
            refusal.message.clone(),
        )],
        detail: Detail::Nothing {},
    }
}
