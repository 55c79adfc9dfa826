//! What only one node may have of an exit: its egress IPs, or the session with its server.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use postern_intent::body::{EGRESS_FENCE, EGRESS_FENCE_MARGIN, EgressTerm};
use postern_intent::{Address, ExitName, NodeDocument, NodeName};

use crate::index::Index;
use crate::snapshot::{ExitHolder, Freshness, HolderFence, SnapshotReport};

/// How long a gateway has the egress IPs before the word of its clients takes them away: those that were cut off with the
/// former gateway need a moment to reach this one.
const SETTLING: SignedDuration = SignedDuration::from_secs(15);

/// The node that has them, or had them last: by the published documents, else by memory.
pub(super) fn holder(index: &Index<'_>, exit: &ExitName) -> Option<ExitHolder> {
    let published = published_holders(index.published.documents.values());
    let mut published = published.filter(|(of, _)| *of == exit);
    let published = published.next().map(|(_, holder)| holder);
    published.or_else(|| index.snapshot.memory.holders.get(exit).cloned())
}

/// What documents have of exits that only one node may have, with their nodes.
pub(crate) fn published_holders<'a>(
    documents: impl Iterator<Item = &'a NodeDocument>,
) -> impl Iterator<Item = (&'a ExitName, ExitHolder)> {
    documents.flat_map(|document| {
        let served = document.nat.iter();
        let held = served.filter(|served| {
            let has_session = document
                .external
                .iter()
                .any(|session| session.exit == served.exit);
            let has_egress = !served.egress.is_empty();
            has_session || has_egress && served.egress_term != EgressTerm::Awaited
        });
        held.map(|served| {
            let is_confirmed = served.egress_term == EgressTerm::Confirmed;
            let holder = ExitHolder {
                node: document.node.name.clone(),
                uid: document.node.uid.clone(),
                serial: document.serial,
                until: document.not_after,
                since: document.issued_at,
                fence: match is_confirmed {
                    true => HolderFence::Confirmed,
                    false => HolderFence::Intent,
                },
                unconfirmed: (!is_confirmed).then_some(document.serial),
            };
            (&served.exit, holder)
        })
    })
}

/// Who has what once these documents are in force: by them, else by what is published now, else as it was remembered. An exit
/// that is gone is remembered until its node cannot have them any more: it may come back under its name on another node.
pub(crate) fn remembered_holders<'a>(
    index: &Index<'_>,
    next: impl Iterator<Item = &'a NodeDocument>,
) -> BTreeMap<ExitName, ExitHolder> {
    let now = index.snapshot.now;
    let known = index.snapshot.memory.holders.iter();
    let known = known.filter(|(_, holder)| now < holder.until);
    let mut holders: BTreeMap<ExitName, ExitHolder> = known
        .map(|(exit, holder)| (exit.clone(), withdrawn(index, holder)))
        .collect();
    let published = published_holders(index.published.documents.values());
    let published = published.map(|(exit, holder)| (exit.clone(), holder));
    let next = published_holders(next).map(|(exit, holder)| (exit.clone(), holder));
    for (exit, holder) in published.chain(next) {
        let holder = match holders.get(&exit) {
            Some(known) if (&known.node, &known.uid) == (&holder.node, &holder.uid) => ExitHolder {
                since: known.since,
                unconfirmed: holder.unconfirmed.or(known.unconfirmed),
                ..holder
            },
            Some(_) | None => holder,
        };
        holders.insert(exit, holder);
    }
    holders
}

/// A holder whose published document has them no more. From the moment of this publication on, the API server confirms no
/// document with them: what it confirmed before that ends with the fence.
fn withdrawn(index: &Index<'_>, holder: &ExitHolder) -> ExitHolder {
    let report = report(index, holder);
    let applied = report.and_then(|report| report.applied_serial);
    // A node that never applied a document with a fence needs no confirmation for the one that it has.
    let is_fenced = holder
        .unconfirmed
        .is_none_or(|serial| applied.is_some_and(|applied| applied > serial));
    let mut holder = holder.clone();
    // A document that cannot be read may have them.
    let is_read = !index.snapshot.unreadable.contains(&holder.node);
    if holder.fence == HolderFence::Confirmed && is_fenced && is_read {
        let ends = index.snapshot.now + EGRESS_FENCE + EGRESS_FENCE_MARGIN;
        holder.until = holder.until.min(ends);
    }
    holder
}

fn report<'a>(index: &Index<'a>, holder: &ExitHolder) -> Option<&'a SnapshotReport> {
    let report = index.reports.get(&holder.node).copied();
    report.filter(|report| report.uid == holder.uid)
}

/// A later document of the node has them not, and the node has applied it and read it back; or the node cannot have them any
/// more.
pub(super) fn has_let_go(index: &Index<'_>, holder: &ExitHolder) -> bool {
    let applied = report(index, holder).and_then(|report| report.applied_serial);
    // A serial above the published one, as after a restored backup, is of an unknown document.
    let published = index.published.documents.get(&holder.node);
    let is_known = |applied| published.is_some_and(|document| applied <= document.serial);
    applied.is_some_and(|applied| applied > holder.serial && is_known(applied))
        || index.snapshot.now >= holder.until
}

/// The node that may still have the egress IPs of the exit, if it is another one than the gateway.
pub(super) fn former_holder(
    index: &Index<'_>,
    exit: &ExitName,
    gateway: &NodeName,
) -> Option<ExitHolder> {
    let holder = holder(index, exit)?;
    (holder.node != *gateway && !has_let_go(index, &holder)).then_some(holder)
}

/// Does a gateway that has the egress IPs of the exit not serve any more, as far as it and its clients report? A node whose
/// clients are cut off lets the next gateway in, although it may serve itself. O(reports).
pub(super) fn is_lost(
    index: &Index<'_>,
    exit: &ExitName,
    egress: &[Address],
    node: &NodeName,
) -> bool {
    if egress.is_empty() {
        return false;
    }
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
    let others = index.reports.values().filter(|other| {
        let is_client = other
            .exits
            .get(exit)
            .is_some_and(|used| used.gateway.as_ref() == Some(node));
        other.freshness == Freshness::Fresh && is_client
    });
    let (mut clients, mut cut_off) = (0_usize, 0_usize);
    for client in others {
        clients += 1;
        let used = client.exits.get(exit);
        let is_cut_off = used.is_some_and(|used| {
            let mut judged = used.judged.iter();
            !used.judged.is_empty() && judged.all(|family| used.faults.contains_key(family))
        });
        cut_off += usize::from(is_cut_off);
    }
    cut_off > clients / 2
}
