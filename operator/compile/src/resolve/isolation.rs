//! Which node is isolated, and by which object.

use std::collections::BTreeMap;

use postern_crds::conditions::Reason;
use postern_intent::NodeName;
use postern_intent::body::Isolation;

use crate::index::Index;
use crate::snapshot::{SnapshotIsolation, SnapshotNode, SpecRefusal};

/// The section in force for each node, and the refused objects.
#[derive(Debug, Default)]
pub(crate) struct ResolvedIsolations<'a> {
    pub(crate) by_node: BTreeMap<&'a NodeName, &'a Isolation>,
    /// By the name of the object.
    pub(crate) refused: BTreeMap<&'a str, SpecRefusal>,
}

impl<'a> ResolvedIsolations<'a> {
    /// The older object counts; a later one that selects a node of it isolates no node at all. What an object that is refused
    /// had in force stays in force: asking for more must never give less.
    pub(crate) fn new(index: &Index<'a>) -> Self {
        let mut resolved = Self::default();
        let mut isolations: Vec<&SnapshotIsolation> = index.snapshot.isolations.iter().collect();
        isolations.sort_by_key(|one| (one.created.is_none(), one.created, &one.name));
        for isolation in isolations {
            let nodes: Vec<&SnapshotNode> = index
                .nodes
                .values()
                .copied()
                .filter(|node| selects(isolation, node))
                .collect();
            let taken = nodes
                .iter()
                .find_map(|node| Some((node, resolved.by_node.get(&node.name)?)));
            let refusal = match (&isolation.terms, taken) {
                (Err(refusal), _) => Some(refusal.clone()),
                (Ok(_), Some((node, other))) => Some(SpecRefusal {
                    reason: Reason::Conflict,
                    message: format!(
                        "node {} is isolated by {} already, which is older; no node is isolated by this object",
                        node.name, other.policy
                    ),
                }),
                (Ok(_), None) => None,
            };
            for node in nodes {
                let wanted = match (&isolation.terms, &refusal) {
                    (Ok(terms), None) => Some(terms),
                    _ => published(index, node, &isolation.name),
                };
                if let Some(wanted) = wanted {
                    resolved.by_node.entry(&node.name).or_insert(wanted);
                }
            }
            if let Some(refusal) = refusal {
                resolved.refused.insert(&isolation.name, refusal);
            }
        }
        resolved
    }
}

/// A selector that cannot be read means every node, of which only those keep something that had it.
fn selects(isolation: &SnapshotIsolation, node: &SnapshotNode) -> bool {
    let selector = isolation.selector.as_ref();
    selector.is_none_or(|selector| selector.matches(&node.labels))
}

fn published<'a>(index: &Index<'a>, node: &SnapshotNode, policy: &str) -> Option<&'a Isolation> {
    let document = index.published.documents.get(&node.name)?;
    let isolation = document.isolation.as_ref()?;
    (document.node.uid == node.uid && isolation.policy == policy).then_some(isolation)
}
