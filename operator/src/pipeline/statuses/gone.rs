//! Intents of nodes that are gone. The compiler has no verdict on such a node; its intent stays until it has run out. Pure.
//!
//! The NodeIntent for all nodes has no status: each write of one would send the whole object to every agent again.

use std::collections::BTreeMap;

use postern_compile::verdict::{Detail, Verdict};
use postern_compile::{Compilation, NodeOutcome};
use postern_crds::conditions::{Finding, Reason};
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::NodeName;

use super::node_status::CONDITIONS;

const GONE: &str = "there is no such Node; the intent is deleted once it has run out";

/// A verdict for each of these intents that belongs to no node.
pub(super) fn of_gone(
    intents: impl IntoIterator<Item = String>,
    compilation: &Compilation,
) -> Vec<Verdict> {
    let gone = |name: &String| name != CLUSTER_INTENT && !is_node(&compilation.nodes, name);
    intents.into_iter().filter(gone).map(verdict).collect()
}

fn is_node(nodes: &BTreeMap<NodeName, NodeOutcome>, name: &str) -> bool {
    name.parse::<NodeName>()
        .is_ok_and(|name| nodes.contains_key(&name))
}

fn verdict(name: String) -> Verdict {
    let unknown = |kind| Finding::unknown(kind, Reason::RefNotFound, GONE);
    Verdict {
        kind: "Node",
        namespace: None,
        name,
        generation: None,
        conditions: CONDITIONS.into_iter().map(unknown).collect(),
        detail: Detail::Node {
            blocked: BTreeMap::new(),
            reported: Vec::new(),
            applied: None,
            published: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use postern_compile::snapshot::CompilerMemory;
    use postern_compile::{ClusterOutcome, Compilation, NodeOutcome};
    use postern_crds::conditions::{ConditionType, find};

    use super::super::node_status::status;
    use super::{CLUSTER_INTENT, GONE, of_gone};

    #[test]
    fn the_intent_of_a_node_that_is_gone_is_not_called_ready() {
        let compilation = Compilation {
            cluster: ClusterOutcome::Keep,
            nodes: [("a".parse().expect("a name"), NodeOutcome::Keep)].into(),
            verdicts: Vec::new(),
            held: Vec::new(),
            memory: CompilerMemory::default(),
            wake: None,
            retired: [].into(),
        };
        let intents = ["a", "b", CLUSTER_INTENT].map(str::to_owned);
        let verdicts = of_gone(intents, &compilation);
        let names: Vec<&str> = verdicts.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["b"]);
        let status = status(&verdicts[0], None, Some(3), Timestamp::UNIX_EPOCH);
        let ready = find(&status.conditions, ConditionType::Ready).expect("a condition");
        let found = (&*ready.status, &*ready.reason, &*ready.message);
        assert_eq!(found, ("Unknown", "RefNotFound", GONE));
    }
}
