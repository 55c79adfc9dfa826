//! What only one node may have of an exit: its egress IPs, or the session with its server.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use postern_intent::body::{EGRESS_FENCE, EGRESS_FENCE_MARGIN, EgressTerm};
use postern_intent::{Address, ExitName, NodeDocument, NodeName, Serial};

use crate::index::Index;
use crate::snapshot::{ExitHolder, Freshness, HolderFence, SnapshotReport};

/// How long a gateway has the egress IPs before the word of its clients takes them away: those that were cut off with the
/// former gateway need a moment to reach this one.
pub(crate) const SETTLING: SignedDuration = SignedDuration::from_secs(15);

/// What documents have of exits that only one node may have, with their nodes.
pub(crate) fn published_holders<'a>(
    documents: impl Iterator<Item = &'a NodeDocument>,
) -> impl Iterator<Item = (&'a ExitName, ExitHolder)> {
    documents.flat_map(|document| {
        let served = document.nat.iter();
        let has_session = |exit: &ExitName| {
            let mut sessions = document.external.iter();
            sessions.any(|session| session.exit == *exit)
        };
        let held = served.filter(move |served| {
            let has_egress = !served.egress.is_empty();
            has_session(&served.exit) || has_egress && served.egress_term != EgressTerm::Awaited
        });
        held.map(move |served| {
            let has_session = has_session(&served.exit);
            let is_confirmed = !has_session && served.egress_term == EgressTerm::Confirmed;
            let addresses = served.egress.iter().filter(|_| !has_session);
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
                addresses: addresses.copied().collect(),
                // That it has applied this document is not known from the document.
                unconfirmed: Some(match is_confirmed {
                    true => Serial(document.serial.0.saturating_sub(1)),
                    false => document.serial,
                }),
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
        leaving.extend(
            holders
                .get(&exit)
                .and_then(|known| left_over(known, &holder)),
        );
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

/// A holder of which it is known once that it has applied a document with a fence.
fn applied(index: &Index<'_>, holder: ExitHolder) -> ExitHolder {
    let applied = report(index, &holder).and_then(|report| report.applied_serial);
    let is_first = |serial: &Serial| {
        holder.fence == HolderFence::Intent || applied.is_none_or(|applied| applied <= *serial)
    };
    ExitHolder {
        unconfirmed: holder.unconfirmed.filter(is_first),
        ..holder
    }
}

/// A holder whose published document has them no more. From the moment of this publication on, the API server confirms no
/// document with them: what it confirmed before that ends with the fence.
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

/// Another machine than the gateway's that may still have the egress IPs of the exit, for this one or for another exit, or
/// its session. O(documents + holders).
pub(super) fn former_holder(
    index: &Index<'_>,
    exit: &ExitName,
    egress: &[Address],
    gateway: &NodeName,
) -> Option<ExitHolder> {
    let uid = index.nodes.get(gateway).map(|node| &node.uid);
    let published: Vec<(&ExitName, ExitHolder)> =
        published_holders(index.published.documents.values()).collect();
    // What is remembered of a machine is older than what its document says of the same exit.
    let remembered = index.snapshot.memory.holders.iter();
    let remembered = remembered.filter(|(of, holder)| {
        let mut published = published.iter();
        !published
            .any(|(other, now)| other == of && now.node == holder.node && now.uid == holder.uid)
    });
    let remembered = remembered.map(|(of, holder)| (Some(of), holder.clone()));
    let published = published.iter().cloned();
    let published = published.map(|(of, holder)| (Some(of), holder));
    let leaving = index.snapshot.memory.leaving.iter();
    let leaving = leaving.map(|holder| (None, holder.clone()));
    let mut all = published.chain(remembered).chain(leaving);
    let found = all.find(|(of, holder)| {
        let shares = holder
            .addresses
            .iter()
            .any(|address| egress.contains(address));
        let is_other = holder.node != *gateway || Some(&holder.uid) != uid;
        (*of == Some(exit) || shares) && is_other && !has_let_go(index, holder)
    });
    found.map(|(_, holder)| holder)
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
        let document = index.published.documents.get(&other.node);
        let uses = document.is_some_and(|one| one.routes.iter().any(|route| route.exit == *exit));
        let is_client = uses
            && other
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
