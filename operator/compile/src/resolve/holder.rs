//! What only one node may have of an exit: its egress IPs, or the session with its server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use postern_intent::body::{EGRESS_FENCE, EGRESS_FENCE_MARGIN, EgressTerm};
use postern_intent::{Address, ExitName, NodeDocument, NodeName, NodeUid, Serial};

use crate::index::Index;
use crate::snapshot::{ExitHolder, Freshness, HolderFence, ReportedExit};

/// How long after its document a gateway keeps the egress IPs whatever its clients report: those that lost the former gateway
/// need time to reach this one.
pub(crate) const SETTLING: SignedDuration = SignedDuration::from_secs(15);

/// Per exit, the node whose document gives it the egress IPs or the session.
pub(crate) fn published_holders<'a>(
    documents: impl Iterator<Item = &'a NodeDocument>,
) -> impl Iterator<Item = (&'a ExitName, ExitHolder)> {
    documents.flat_map(|document| {
        document.nat.iter().filter_map(|served| {
            let session = document.external_session(&served.exit);
            let fence = match (session, served.egress_term) {
                (None, _) if served.egress.is_empty() => return None,
                (None, EgressTerm::Awaited) => return None,
                (None, EgressTerm::Confirmed) => HolderFence::Confirmed,
                (Some(_), _) | (None, EgressTerm::Intent) => HolderFence::Intent,
            };
            let addresses = served.egress.iter().filter(|_| session.is_none());
            let holder = ExitHolder {
                node: document.node.name.clone(),
                uid: document.node.uid.clone(),
                serial: document.serial,
                until: document.not_after,
                since: document.issued_at,
                fence,
                addresses: addresses.copied().collect(),
                // The document does not show whether it was applied.
                unconfirmed: Some(match fence {
                    HolderFence::Confirmed => Serial(document.serial.0.saturating_sub(1)),
                    HolderFence::Intent => document.serial,
                }),
            };
            Some((&served.exit, holder))
        })
    })
}

/// The holder of each exit: by the next documents, else by the published ones, else by memory; and the holders that a change
/// of the exit took addresses from. A holder of a deleted exit stays until its node cannot have the addresses: the exit may come
/// back on another node.
pub(crate) fn remembered_holders<'a>(
    index: &Index<'_>,
    next: impl Iterator<Item = &'a NodeDocument>,
) -> (BTreeMap<ExitName, ExitHolder>, Vec<ExitHolder>) {
    let now = index.snapshot.now;
    let known = index.snapshot.memory.holders.iter();
    let known = known.filter(|(_, holder)| now < holder.until);
    let mut holders: BTreeMap<ExitName, ExitHolder> = known
        .map(|(exit, holder)| (exit.clone(), withdrawn(index, holder)))
        .collect();
    let published = published_holders(index.published.documents.values());
    let published = published.map(|(exit, holder)| (exit.clone(), holder));
    let next = published_holders(next).map(|(exit, holder)| (exit.clone(), holder));
    let leaving = index.snapshot.memory.leaving.iter();
    let leaving = leaving.filter(|holder| !has_let_go(index, holder));
    let mut leaving: Vec<ExitHolder> = leaving.map(|holder| withdrawn(index, holder)).collect();
    for (exit, holder) in published.chain(next) {
        let known = holders.get(&exit);
        if let Some(left) = known.and_then(|known| left_over(known, &holder)) {
            // A document that cannot be written would leave them again with each run.
            let of = |one: &ExitHolder| (one.node.clone(), one.uid.clone(), one.addresses.clone());
            leaving.retain(|one| of(one) != of(&left));
            leaving.push(left);
        }
        let holder = match holders.get(&exit) {
            Some(known) if (&known.node, &known.uid) == (&holder.node, &holder.uid) => ExitHolder {
                since: known.since,
                unconfirmed: match holder.fence {
                    HolderFence::Confirmed => known.unconfirmed,
                    HolderFence::Intent => holder.unconfirmed,
                },
                ..holder
            },
            Some(_) | None => holder,
        };
        holders.insert(exit, applied(index, holder));
    }
    (holders, leaving)
}

/// The egress IPs that a later document of the same machine takes from it.
fn left_over(known: &ExitHolder, now: &ExitHolder) -> Option<ExitHolder> {
    let is_same = (&known.node, &known.uid) == (&now.node, &now.uid);
    let left = known.addresses.difference(&now.addresses);
    let left: BTreeSet<Address> = left.copied().collect();
    (is_same && !left.is_empty()).then(|| ExitHolder {
        addresses: left,
        ..known.clone()
    })
}

/// Clears `unconfirmed` once the node has applied a document with a fence.
fn applied(index: &Index<'_>, holder: ExitHolder) -> ExitHolder {
    let applied = applied_serial(index, &holder);
    let is_first = |serial: &Serial| {
        holder.fence == HolderFence::Intent || applied.is_none_or(|applied| applied <= *serial)
    };
    ExitHolder {
        unconfirmed: holder.unconfirmed.filter(is_first),
        ..holder
    }
}

/// A holder whose published document no longer has the addresses. The API server now confirms no document with them, and each
/// earlier confirmation ends within the fence.
fn withdrawn(index: &Index<'_>, holder: &ExitHolder) -> ExitHolder {
    let mut holder = applied(index, holder.clone());
    // A document that cannot be read may have them.
    let is_read = !index.snapshot.unreadable.contains(&holder.node);
    if holder.fence == HolderFence::Confirmed && holder.unconfirmed.is_none() && is_read {
        let ends = index.snapshot.now + EGRESS_FENCE + EGRESS_FENCE_MARGIN;
        holder.until = holder.until.min(ends);
    }
    holder
}

/// The serial that the holder's machine has applied. One above the published serial, as after a restored backup, is of an
/// unknown document.
fn applied_serial(index: &Index<'_>, holder: &ExitHolder) -> Option<Serial> {
    let published = index.published.documents.get(&holder.node)?;
    let report = index.reports.get(&holder.node)?;
    let applied = report.applied_serial.filter(|_| report.uid == holder.uid)?;
    (applied <= published.serial).then_some(applied)
}

/// The node has applied and read back a later document without them, or its time is over.
fn has_let_go(index: &Index<'_>, holder: &ExitHolder) -> bool {
    applied_serial(index, holder).is_some_and(|applied| applied > holder.serial)
        || index.snapshot.now >= holder.until
}

/// Every machine that may still have egress IPs or the session of an exit.
pub(super) struct StandingHolders<'a>(Vec<(Option<&'a ExitName>, ExitHolder)>);

impl<'a> StandingHolders<'a> {
    /// By the published documents and by memory. O(documents + holders · log holders).
    pub(super) fn new(index: &Index<'a>) -> Self {
        let published: Vec<(&ExitName, ExitHolder)> =
            published_holders(index.published.documents.values()).collect();
        let named: BTreeSet<(&ExitName, &NodeName, &NodeUid)> = published
            .iter()
            .map(|(exit, holder)| (*exit, &holder.node, &holder.uid))
            .collect();
        let memory = &index.snapshot.memory;
        // For one exit and machine the published document replaces the memory.
        let remembered = memory.holders.iter();
        let remembered =
            remembered.filter(|(exit, holder)| !named.contains(&(exit, &holder.node, &holder.uid)));
        let remembered = remembered.map(|(exit, holder)| (Some(exit), withdrawn(index, holder)));
        let remembered: Vec<_> = remembered.collect();
        let leaving = memory.leaving.iter();
        let leaving = leaving.map(|holder| (None, withdrawn(index, holder)));
        let published = published.into_iter();
        let published = published.map(|(exit, holder)| (Some(exit), holder));
        let all = published.chain(remembered).chain(leaving);
        Self(
            all.filter(|(_, holder)| !has_let_go(index, holder))
                .collect(),
        )
    }

    /// Another machine than the gateway's, for this exit or by an address that another exit had. O(holders).
    pub(super) fn former(
        &self,
        index: &Index<'_>,
        exit: &ExitName,
        egress: &[Address],
        gateway: &NodeName,
    ) -> Option<&ExitHolder> {
        let uid = index.nodes.get(gateway).map(|node| &node.uid);
        let found = self.0.iter().find(|(of, holder)| {
            let mut addresses = holder.addresses.iter();
            let is_its = *of == Some(exit) || addresses.any(|address| egress.contains(address));
            is_its && (holder.node != *gateway || Some(&holder.uid) != uid)
        });
        found.map(|(_, holder)| holder)
    }
}

/// What fresh reports say of an exit, of nodes whose documents use it: a report is untrusted. O(reports).
pub(super) fn clients<'a>(index: &Index<'a>, exit: &ExitName) -> Vec<&'a ReportedExit> {
    let uses = |node: &NodeName| {
        let document = index.published.documents.get(node);
        document.is_some_and(|document| document.routes.iter().any(|route| route.exit == *exit))
    };
    let reports = index.reports.values().copied();
    let fresh = reports.filter(|report| report.freshness == Freshness::Fresh);
    let fresh = fresh.filter(|report| uses(&report.node));
    fresh.filter_map(|report| report.exits.get(exit)).collect()
}

/// Is the gateway of an exit with egress IPs lost, by its own report or by more than half of its clients? A node whose clients
/// are cut off lets the next gateway in, although it may serve itself. O(clients).
pub(super) fn is_lost(
    index: &Index<'_>,
    exit: &ExitName,
    clients: &[&ReportedExit],
    node: &NodeName,
) -> bool {
    let Some(report) = index.reports.get(node) else {
        return true;
    };
    if matches!(report.freshness, Freshness::Old | Freshness::Ahead) {
        return true;
    }
    let memory = &index.snapshot.memory.holders;
    let holds = memory.get(exit).filter(|holder| holder.node == *node);
    if holds.is_none_or(|holder| index.snapshot.now.duration_since(holder.since) < SETTLING) {
        return false;
    }
    let own = clients
        .iter()
        .filter(|used| used.gateway.as_ref() == Some(node));
    let is_cut_off = |used: &&&ReportedExit| {
        let mut judged = used.judged.iter();
        !used.judged.is_empty() && judged.all(|family| used.faults.contains_key(family))
    };
    own.clone().filter(is_cut_off).count() > own.count() / 2
}
