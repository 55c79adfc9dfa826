//! What verdicts say while ranges of the cluster are unknown. Pure.

use postern_compile::verdict::Verdict;
use postern_crds::conditions::{ConditionType, Finding, Reason};

use crate::pipeline::gather::Unknown;

/// The verdicts, without a claim while ranges are unknown.
pub(in crate::pipeline) fn unclaimed(verdicts: &[Verdict], unknown: &[Unknown]) -> Vec<Verdict> {
    if unknown.is_empty() {
        return verdicts.to_vec();
    }
    let sentences: Vec<&str> = unknown.iter().map(|range| range.sentence()).collect();
    let message = sentences.join("; ");
    let mut verdicts = verdicts.to_vec();
    for verdict in verdicts
        .iter_mut()
        .filter(|verdict| matches!(verdict.kind, "EgressPolicy" | "ExitNode"))
    {
        for kind in [ConditionType::Programmed, ConditionType::Ready] {
            let finding = Finding::no(kind, Reason::RangesUnknown, message.clone());
            verdict.conditions.retain(|found| found.kind != kind);
            verdict.conditions.push(finding);
        }
    }
    verdicts
}
