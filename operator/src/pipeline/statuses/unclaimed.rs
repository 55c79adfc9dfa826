//! What verdicts say while ranges of the cluster are unknown. Pure.

use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome};
use postern_crds::conditions::{ConditionType, Finding, Reason};
use postern_intent::NodeName;

use crate::pipeline::gather::UnknownRange;

/// The verdicts, without a claim while ranges are unknown.
pub(in crate::pipeline) fn unclaimed(
    compilation: &Compilation,
    unknown: &[UnknownRange],
) -> Vec<Verdict> {
    let mut verdicts = compilation.verdicts.clone();
    if unknown.is_empty() {
        return verdicts;
    }
    let sentences: Vec<&str> = unknown.iter().map(|range| range.sentence()).collect();
    let message = sentences.join("; ");
    for verdict in &mut verdicts {
        let kinds: &[ConditionType] = match verdict.kind {
            "EgressPolicy" | "ExitNode" => &[ConditionType::Programmed, ConditionType::Ready],
            "ClusterEgressPolicy" => &[ConditionType::Programmed],
            "Node" if is_kept_back(compilation, &verdict.name) => &[ConditionType::Programmed],
            _ => &[],
        };
        for &kind in kinds {
            let finding = Finding::no(kind, Reason::RangesUnknown, message.clone());
            verdict.conditions.retain(|found| found.kind != kind);
            verdict.conditions.push(finding);
        }
    }
    verdicts
}

/// Would something new be published for the node?
fn is_kept_back(compilation: &Compilation, node: &str) -> bool {
    let outcomes = &compilation.nodes;
    node.parse::<NodeName>()
        .is_ok_and(|node| matches!(outcomes.get(&node), Some(NodeOutcome::Publish(_))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postern_compile::snapshot::CompilerMemory;
    use postern_compile::verdict::{Detail, Verdict};
    use postern_compile::{ClusterOutcome, Compilation, NodeOutcome};
    use postern_crds::conditions::{ConditionType, Finding, Reason};
    use postern_intent::NodeDocument;
    use postern_intent::body::FORMAT_VERSION;
    use serde_json::json;

    use super::super::notices::of_nodes;
    use super::unclaimed;
    use crate::pipeline::gather::UnknownRange;

    fn node(name: &str) -> Verdict {
        let kind = ConditionType::Programmed;
        let carried = Finding::yes(kind, Reason::Programmed, Reason::Programmed.sentence());
        Verdict {
            kind: "Node",
            namespace: None,
            name: name.to_owned(),
            generation: None,
            conditions: vec![carried],
            detail: Detail::Isolation {
                nodes: postern_crds::interface_isolation::IsolationCounts::default(),
            },
        }
    }

    fn document() -> NodeDocument {
        let document = json!({
            "version": FORMAT_VERSION, "node": {"name": "b", "uid": "u"}, "serial": 5, "clusterSerial": 1,
            "issuedAt": "2026-01-01T00:00:00Z", "notAfter": "2026-01-02T00:00:00Z",
            "localPodRanges": [], "localAddresses": [], "tunnels": [], "routes": [], "nat": [],
            "firewall": [], "pods": [], "allocations": [],
        });
        serde_json::from_value(document).expect("a document")
    }

    #[test]
    fn a_node_whose_intent_waits_for_unknown_ranges_names_them_and_another_one_does_not() {
        let name = |name: &str| name.parse().expect("a name");
        let compilation = Compilation {
            cluster: ClusterOutcome::Keep,
            nodes: [
                (name("a"), NodeOutcome::Keep),
                (name("b"), NodeOutcome::Publish(Box::new(document()))),
            ]
            .into(),
            verdicts: vec![node("a"), node("b")],
            held: Vec::new(),
            memory: CompilerMemory::default(),
            wake: None,
            retired: [].into(),
        };
        let reasons = |unknown: &[UnknownRange]| -> BTreeMap<String, Reason> {
            let verdicts = unclaimed(&compilation, unknown).into_iter();
            let reasons = verdicts.map(|one| (one.name, one.conditions[0].reason));
            reasons.collect()
        };
        let found = reasons(&[UnknownRange::Services]);
        assert_eq!(found["a"], Reason::Programmed);
        assert_eq!(found["b"], Reason::RangesUnknown);
        assert_eq!(reasons(&[])["b"], Reason::Programmed);
        let events = of_nodes(&unclaimed(&compilation, &[UnknownRange::Services]));
        assert!(events.is_empty(), "policies and exits announce it");
    }
}
