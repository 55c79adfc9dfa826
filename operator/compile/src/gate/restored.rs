//! Nodes that are ahead of what is published, as after a restore from a backup.

use std::collections::BTreeMap;

use postern_intent::NodeName;

use super::judge::{Gate, held};
use super::words::{Cause, Ground, Held, Subject};
use crate::index::Index;
use crate::serial;

/// Nodes that have seen a newer document than the published one, or whose published one cannot be read, and that no
/// person has approved; with what is said about each.
pub(super) fn restored(index: &Index<'_>, gate: &mut Gate) -> BTreeMap<NodeName, Held> {
    let snapshot = index.snapshot;
    let mut found = BTreeMap::new();
    for node in index.nodes.values() {
        let reported = serial::reported(snapshot.now, index.reports.get(&node.name).copied());
        let ahead = serial::is_restored(node, index.published.bodies.get(&node.name), reported);
        if !ahead && !snapshot.unreadable.contains(&node.name) {
            continue;
        }
        let ground = Ground {
            subject: Subject::Node(node.name.clone()),
            cause: Cause::Restored,
            identity: format!("{} {}", node.uid, reported.unwrap_or_default()),
        };
        if !gate.consent(index, &ground) {
            found.insert(node.name.clone(), held(index, &ground, 0));
        }
    }
    found
}
