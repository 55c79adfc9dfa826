//! The document that all nodes read: whether what is published stays, and which nodes may take what comes in its place
//! (docs/adr/0021-one-document-for-all-nodes.md).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::body::{Cluster, FORMAT_VERSION, SerialGap};
use postern_intent::{ClusterDocument, Namespace, NodeDocument, NodeName, NodeUid, Serial};

use crate::budget::{ShedServices, fit_cluster};
use crate::gate::{ApprovalCause, ApprovalSubject};
use crate::refresh::Validity;
use crate::serial;
use crate::snapshot::{Snapshot, SnapshotReport};

/// What becomes of the cluster document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterOutcome {
    /// The published envelope stays, byte for byte.
    Keep,
    /// This document is signed and published, before the documents of nodes that name it.
    Publish(Box<ClusterDocument>),
}

/// The outcome with what the documents of nodes and the verdicts need to know about it.
pub(crate) struct SettledCluster {
    pub(crate) outcome: ClusterOutcome,
    /// [`ClusterDocument::follows`] of what is in force once the outcome is carried out.
    pub(crate) follows: Serial,
    pub(crate) changed: Serial,
    /// What did not fit.
    pub(crate) shed: ShedServices,
}

/// The longest list of gaps; of more, the two oldest become one.
const GAPS: usize = 16;

/// Settles the cluster document. `content` has no serial and no times yet.
pub(crate) fn settle(snapshot: &Snapshot, content: ClusterDocument) -> SettledCluster {
    let mut document = content;
    let shed = fit_cluster(&mut document, snapshot.settings.envelope_budget);
    let published = snapshot.previous_cluster.as_ref();
    let is_same = published.is_some_and(|published| says_the_same(&document, published));
    if let Some(published) = published
        && is_same
        && !validity(published).is_due(snapshot.now, &snapshot.settings, CLUSTER_INTENT)
        // A node that has a newer one refuses this one for ever.
        && !is_behind(snapshot, published, reports(snapshot).filter(|one| !waits(snapshot, &one.node)))
    {
        return SettledCluster {
            outcome: ClusterOutcome::Keep,
            follows: published.follows,
            changed: published.changed,
            shed,
        };
    }
    let reported = reports(snapshot)
        .filter_map(|report| serial::believed(snapshot.now, report.ledger_cluster_serial));
    let named = snapshot
        .previous
        .values()
        .map(|intent| intent.cluster_serial);
    let seen = reported.chain(named);
    document.serial = serial::next(snapshot.now, published.map(|one| one.serial), seen.max());
    document.changed = match published {
        Some(published) if is_same => published.changed,
        _ => document.serial,
    };
    (document.follows, document.lost) = match published {
        Some(published) if goes_on(snapshot, published) => {
            (published.follows, published.lost.clone())
        }
        _ => (document.serial, lost(published, document.serial)),
    };
    document.lost.retain(|gap| is_open(snapshot, *gap));
    let Validity {
        issued_at,
        not_after,
    } = Validity::from_now(snapshot.now, &snapshot.settings);
    document.issued_at = issued_at;
    document.not_after = not_after;
    SettledCluster {
        follows: document.follows,
        changed: document.changed,
        outcome: ClusterOutcome::Publish(Box::new(document)),
        shed,
    }
}

/// Whether a newer document was published than the one in the store: an intent or a report names one, so the store was set
/// back.
fn is_behind<'a>(
    snapshot: &Snapshot,
    published: &ClusterDocument,
    mut reports: impl Iterator<Item = &'a SnapshotReport>,
) -> bool {
    let mut intents = snapshot.previous.values();
    intents.any(|intent| intent.cluster_serial > published.serial)
        || reports.any(|report| {
            serial::believed(snapshot.now, report.ledger_cluster_serial)
                .is_some_and(|seen| seen > published.serial)
        })
}

/// Reports of nodes that exist.
fn reports(snapshot: &Snapshot) -> impl Iterator<Item = &SnapshotReport> {
    let nodes = snapshot.nodes.iter();
    let uids: BTreeMap<&NodeName, &NodeUid> = nodes.map(|node| (&node.name, &node.uid)).collect();
    let reports = snapshot.reports.iter();
    reports.filter(move |report| uids.get(&report.node) == Some(&&report.uid))
}

/// Whether a node waits for an approval after a restore. Its reports cause no publication: otherwise one node could have the
/// documents of all nodes rewritten with every report.
fn waits(snapshot: &Snapshot, node: &NodeName) -> bool {
    let mut records = snapshot.memory.held.iter();
    records.any(|record| {
        record.cause == ApprovalCause::Restored
            && record.subject == ApprovalSubject::Node(node.clone())
    })
}

/// Whether the next document continues the published line. It does not where a node has a newer document, or may have one
/// because it has not reported yet: the store may have been set back and lack a guarded namespace, so only nodes whose
/// intents are rewritten may take the next document. Nodes that wait count too: all of them may wait. A line that this
/// process began is known completely, so a node that stays away costs the others one write and not one for each change.
fn goes_on(snapshot: &Snapshot, published: &ClusterDocument) -> bool {
    (snapshot.cluster_is_own || snapshot.awaited.is_empty())
        && !is_behind(snapshot, published, reports(snapshot))
}

/// The gaps of a new line: those of the published document, and the one between that document and this serial.
fn lost(published: Option<&ClusterDocument>, begin: Serial) -> Vec<SerialGap> {
    let mut gaps = published.map_or_else(Vec::new, |published| published.lost.clone());
    gaps.push(SerialGap {
        after: published.map_or(Serial(0), |published| published.serial),
        before: begin,
    });
    if gaps.len() > GAPS {
        let oldest = gaps.remove(0);
        gaps[0].after = oldest.after;
    }
    gaps
}

/// Whether a published intent still names a serial below the gap's end. Without one nobody can be found by the gap.
fn is_open(snapshot: &Snapshot, gap: SerialGap) -> bool {
    let mut documents = snapshot.previous.values();
    documents.any(|document| document.cluster_serial < gap.before)
}

/// Whether a node reports a cluster document that the operator does not have: one above the published serial, or one in a gap
/// while the node's own intent names a serial below the gap's end.
pub(crate) fn knows_more(
    snapshot: &Snapshot,
    report: &SnapshotReport,
    own: Option<&NodeDocument>,
) -> bool {
    let Some(seen) = serial::believed(snapshot.now, report.ledger_cluster_serial) else {
        return false;
    };
    let Some(published) = &snapshot.previous_cluster else {
        return true;
    };
    let named = own.map_or(Serial(0), |own| own.cluster_serial);
    let mut gaps = published.lost.iter();
    seen > published.serial || gaps.any(|gap| gap.contains(seen) && named < gap.before)
}

/// A document without serials and times.
pub(crate) fn unstamped(
    guarded_namespaces: BTreeSet<Namespace>,
    cluster: Cluster,
) -> ClusterDocument {
    ClusterDocument {
        version: FORMAT_VERSION,
        serial: Serial(0),
        follows: Serial(0),
        changed: Serial(0),
        lost: Vec::new(),
        issued_at: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::UNIX_EPOCH,
        guarded_namespaces,
        cluster,
    }
}

fn validity(document: &ClusterDocument) -> Validity {
    Validity {
        issued_at: document.issued_at,
        not_after: document.not_after,
    }
}

fn says_the_same(a: &ClusterDocument, b: &ClusterDocument) -> bool {
    // Named one by one, so that a new field does not compile until it is compared.
    let ClusterDocument {
        version,
        serial: _,
        follows: _,
        changed: _,
        lost: _,
        issued_at: _,
        not_after: _,
        guarded_namespaces,
        cluster,
    } = a;
    *version == b.version && *guarded_namespaces == b.guarded_namespaces && *cluster == b.cluster
}
