//! The document that all nodes read: whether what is published stays, and which nodes may take what comes in its place
//! (docs/adr/0021-one-document-for-all-nodes.md).

use postern_intent::body::FORMAT_VERSION;
use postern_intent::{ClusterDocument, Serial};

use crate::budget::{ShedServices, fit_cluster};
use crate::refresh::Validity;
use crate::serial;
use crate::snapshot::Snapshot;

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
    /// What is in force once the outcome is carried out.
    pub(crate) serial: Serial,
    /// [`ClusterDocument::follows`] of that.
    pub(crate) follows: Serial,
    /// What did not fit.
    pub(crate) shed: ShedServices,
}

/// Settles the cluster document. `content` has no serial and no times yet.
pub(crate) fn settle(snapshot: &Snapshot, content: ClusterDocument) -> SettledCluster {
    let mut document = content;
    let shed = fit_cluster(&mut document, snapshot.settings.envelope_budget);
    let published = snapshot.previous_cluster.as_ref();
    let seen = snapshot
        .reports
        .iter()
        .filter_map(|report| serial::believed(snapshot.now, report.ledger_cluster_serial))
        .max();
    if let Some(published) = published
        && says_the_same(&document, published)
        && !validity(published).is_due(snapshot.now, &snapshot.settings)
        // A node that has seen a newer one refuses this one for ever.
        && !is_behind(published, seen)
    {
        return SettledCluster {
            outcome: ClusterOutcome::Keep,
            serial: published.serial,
            follows: published.follows,
            shed,
        };
    }
    document.serial = serial::next(snapshot.now, published.map(|one| one.serial), seen);
    document.follows = match published {
        Some(published) if goes_on(snapshot, published, seen) => published.follows,
        _ => document.serial,
    };
    let Validity {
        issued_at,
        not_after,
    } = Validity::from_now(snapshot.now, &snapshot.settings);
    document.issued_at = issued_at;
    document.not_after = not_after;
    SettledCluster {
        serial: document.serial,
        follows: document.follows,
        outcome: ClusterOutcome::Publish(Box::new(document)),
        shed,
    }
}

/// Has a node seen a newer document than the published one? Then the store was set back.
fn is_behind(published: &ClusterDocument, seen: Option<Serial>) -> bool {
    seen.is_some_and(|seen| seen > published.serial)
}

/// Is what is published the last that any node has seen? Where a node has seen more, or may have, the store may have been set
/// back: a namespace that was guarded may be missing, and only nodes whose own document is made anew may take this one. A
/// document of our own begins a line that we know whole, so a node that stays away costs the others one write and not one
/// for each change.
fn goes_on(snapshot: &Snapshot, published: &ClusterDocument, seen: Option<Serial>) -> bool {
    (snapshot.cluster_is_own || snapshot.awaited.is_empty()) && !is_behind(published, seen)
}

/// A document without serial and times.
pub(crate) fn unstamped(
    guarded_namespaces: std::collections::BTreeSet<postern_intent::Namespace>,
    cluster: postern_intent::body::Cluster,
) -> ClusterDocument {
    ClusterDocument {
        version: FORMAT_VERSION,
        serial: Serial(0),
        follows: Serial(0),
        issued_at: jiff::Timestamp::UNIX_EPOCH,
        not_after: jiff::Timestamp::UNIX_EPOCH,
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
        issued_at: _,
        not_after: _,
        guarded_namespaces,
        cluster,
    } = a;
    *version == b.version && *guarded_namespaces == b.guarded_namespaces && *cluster == b.cluster
}
