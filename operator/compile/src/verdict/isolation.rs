//! The conditions of an isolation, by the reports of its nodes.

use std::collections::BTreeMap;

use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_crds::interface_isolation::IsolationCounts;
use postern_crds::node_report::IsolationState;
use postern_intent::NodeName;

use super::progress::{ConcernedNodes, Progress};
use super::{Detail, Verdict};
use crate::first_names;
use crate::lower::LoweringContext;
use crate::settled::SettledNode;
use crate::snapshot::{ReportedIsolation, SnapshotIsolation};

/// What the nodes of one isolation report.
#[derive(Default)]
struct IsolatedNodes<'a> {
    concerned: ConcernedNodes<'a>,
    counts: IsolationCounts,
    /// Those that are not as they are wanted.
    deviating: Vec<(&'a NodeName, &'a ReportedIsolation)>,
    rolled_back: Vec<(&'a NodeName, &'a ReportedIsolation)>,
}

/// The verdict on one isolation.
pub(super) fn verdict(
    context: &LoweringContext<'_>,
    settled: &BTreeMap<&NodeName, SettledNode>,
    isolation: &SnapshotIsolation,
) -> Verdict {
    let refusal = context.isolations.refused.get(isolation.name.as_str());
    let seen = look(context, settled, isolation);
    let mut conditions = vec![match refusal {
        Some(refusal) => Finding::no(
            ConditionType::Accepted,
            refusal.reason,
            refusal.message.clone(),
        ),
        None => Finding::yes(
            ConditionType::Accepted,
            Reason::Accepted,
            Reason::Accepted.sentence(),
        ),
    }];
    if refusal.is_none() {
        conditions.extend([programmed(&seen), ready(&seen), rolled_back(&seen)]);
    }
    Verdict {
        kind: "InterfaceIsolation",
        namespace: None,
        name: isolation.name.clone(),
        generation: Some(isolation.generation),
        conditions,
        detail: Detail::Isolation { nodes: seen.counts },
    }
}

fn look<'a>(
    context: &'a LoweringContext<'_>,
    settled: &'a BTreeMap<&NodeName, SettledNode>,
    isolation: &SnapshotIsolation,
) -> IsolatedNodes<'a> {
    let mut seen = IsolatedNodes::default();
    for (node, settled) in settled {
        let document = settled.document.isolation.as_ref();
        let Some(wanted) = document.filter(|one| one.policy == isolation.name) else {
            continue;
        };
        let progress = Progress::of_isolation(context, settled, node, &wanted.digest);
        seen.concerned.add(node, progress);
        seen.counts.desired += 1;
        let report = context.index.reports.get(*node).copied();
        let Some(said) = report.and_then(|report| report.isolation.as_ref()) else {
            continue;
        };
        if progress != Progress::Programmed {
            continue;
        }
        match said.state {
            IsolationState::Compliant => seen.counts.compliant += 1,
            IsolationState::RolledBack => {
                seen.counts.compliant += 1;
                seen.counts.rolled_back += 1;
                seen.rolled_back.push((node, said));
            }
            IsolationState::Held
            | IsolationState::Switching
            | IsolationState::Confirming
            | IsolationState::Deviating => seen.deviating.push((node, said)),
        }
    }
    seen
}

fn programmed(seen: &IsolatedNodes<'_>) -> Finding {
    let kind = ConditionType::Programmed;
    if seen.counts.desired == 0 {
        return Finding::yes(kind, Reason::Unused, Reason::Unused.sentence());
    }
    let sentence = seen.concerned.sentence("nodes act on it");
    match seen.concerned.progress() {
        Progress::Programmed => Finding::yes(kind, Reason::Programmed, sentence),
        Progress::Converging => Finding::no(kind, Reason::Converging, sentence),
        Progress::Stale => Finding::unknown(kind, Reason::Stale, sentence),
    }
}

fn ready(seen: &IsolatedNodes<'_>) -> Finding {
    let kind = ConditionType::Ready;
    if let Some((_, said)) = seen.deviating.first() {
        let reason = said.reason.unwrap_or(Reason::Mismatch);
        return Finding::no(kind, reason, sentence(&seen.deviating));
    }
    if !seen.rolled_back.is_empty() {
        let message = sentence(&seen.rolled_back);
        return Finding::no(kind, Reason::SwitchRolledBack, message);
    }
    match seen.concerned.progress() {
        Progress::Programmed if seen.counts.desired == 0 => {
            Finding::yes(kind, Reason::Unused, Reason::Unused.sentence())
        }
        Progress::Programmed => {
            let message = format!("{} nodes have one uplink up", seen.counts.compliant);
            Finding::yes(kind, Reason::Isolated, message)
        }
        Progress::Converging => Finding::no(
            kind,
            Reason::Converging,
            seen.concerned.sentence("nodes act on it"),
        ),
        Progress::Stale => {
            let message = seen.concerned.sentence("nodes act on it");
            Finding::unknown(kind, Reason::Stale, message)
        }
    }
}

fn rolled_back(seen: &IsolatedNodes<'_>) -> Finding {
    let kind = ConditionType::RolledBack;
    if seen.rolled_back.is_empty() {
        return Finding::no(kind, Reason::Confirmed, Reason::Confirmed.sentence());
    }
    Finding::yes(kind, Reason::SwitchRolledBack, sentence(&seen.rolled_back))
}

/// The first nodes by name, and the message of the first one.
fn sentence(nodes: &[(&NodeName, &ReportedIsolation)]) -> String {
    let names = first_names(nodes.iter().map(|(node, _)| node));
    let said = nodes.first().map_or("", |(_, said)| &said.message);
    format!("{names}: {said}")
}
