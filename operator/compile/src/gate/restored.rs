//! Nodes that are ahead of what is published, as after a restore from a backup.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::NodeName;

use super::approval::{held, is_approved};
use super::held::{ApprovalCause, ApprovalSubject, PendingApproval, ReleaseGround};
use crate::index::Index;
use crate::snapshot::SnapshotNode;
use crate::{serial, shared};

/// Nodes that have seen a newer document than the published one, or whose published one cannot be read: those that no
/// person has approved, with what is said about each, and the grounds of those that somebody has.
pub(super) fn restored(
    index: &Index<'_>,
) -> (BTreeMap<NodeName, PendingApproval>, BTreeSet<ReleaseGround>) {
    let snapshot = index.snapshot;
    let (mut waiting, mut consented) = (BTreeMap::new(), BTreeSet::new());
    for node in index.nodes.values() {
        let reported = serial::reported(snapshot.now, index.reports.get(&node.name).copied());
        let ahead = serial::is_restored(node, index.published.documents.get(&node.name), reported)
            || knows_more_of_the_cluster(index, node);
        if !ahead && !snapshot.unreadable.contains(&node.name) && !still_waits(index, node) {
            continue;
        }
        let ground = ReleaseGround {
            subject: ApprovalSubject::Node(node.name.clone()),
            cause: ApprovalCause::Restored,
            identity: format!("{} {}", node.uid, reported.unwrap_or_default()),
        };
        if is_approved(index, &ground) {
            consented.insert(ground);
        } else {
            waiting.insert(node.name.clone(), held(index, &ground, 0));
        }
    }
    (waiting, consented)
}

fn knows_more_of_the_cluster(index: &Index<'_>, node: &SnapshotNode) -> bool {
    let published = index.published.documents.get(&node.name);
    let own = published.filter(|document| document.node.uid == node.uid);
    let mut report = index.reports.get(&node.name).into_iter();
    report.any(|report| shared::knows_more(index.snapshot, report, own))
}

/// Does it wait already, while nothing says any more what it has seen? A report that is deleted, or that cannot be read,
/// ends no wait, and neither does a newer cluster document, which a node that waits does not take. A document that was
/// published for it since then does: none is published for a node that waits.
fn still_waits(index: &Index<'_>, node: &SnapshotNode) -> bool {
    let published = index.published.documents.get(&node.name);
    let published = published.filter(|document| document.node.uid == node.uid);
    let mut records = index.snapshot.memory.held.iter();
    let waits = records.any(|record| {
        record.cause == ApprovalCause::Restored
            && record.subject == ApprovalSubject::Node(node.name.clone())
            && published.is_none_or(|document| document.issued_at <= record.since)
    });
    let report = index.reports.get(&node.name);
    let is_silent = report.is_none_or(|report| report.ledger_serial.is_none());
    let follows = index
        .snapshot
        .previous_cluster
        .as_ref()
        .map(|one| one.follows);
    let is_of_before = published
        .zip(follows)
        .is_some_and(|(document, follows)| document.cluster_serial < follows);
    waits && (is_silent || is_of_before)
}
