//! How far nodes are with what is in force for them, as they report.

use std::collections::BTreeMap;

use postern_crds::egress_policy::NodeCounts;
use postern_crds::node_report::{SCOPES_LISTED, SERVED_LISTED};
use postern_intent::body::{ExitRoute, Scope, ServedExit};
use postern_intent::{NodeName, SectionDigest, Serial};

use crate::first_names;
use crate::lower::LoweringContext;
use crate::settled::{NodeOutcome, SettledNode};
use crate::snapshot::{Freshness, Guard, SnapshotReport};

/// How far a node is, or several are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It carries the document that is in force for it behind a guard, both read back not long ago.
    Programmed,
    /// It does not yet.
    Converging,
    /// What it last said no longer counts, so that nobody knows.
    Stale,
}

impl Progress {
    /// Of one node with its whole document.
    pub(super) fn of(
        context: &LoweringContext<'_>,
        settled: &BTreeMap<&NodeName, SettledNode>,
        node: &NodeName,
    ) -> Self {
        let Some(settled) = settled.get(node) else {
            return Self::Converging;
        };
        Self::reported(context, node, |report| carries_body(settled, report))
    }

    /// Of one node with one scope. A refresh, or a change of another scope, changes nothing about it.
    pub(super) fn of_scope(
        context: &LoweringContext<'_>,
        settled: &SettledNode,
        node: &NodeName,
        scope: &Scope,
    ) -> Self {
        Self::reported(context, node, |report| {
            let said = report.scopes.get(&scope.policy.uid);
            let said = said.map(|said| said.digest.as_ref());
            let list = ListExtent::of(report.scopes.len(), SCOPES_LISTED);
            carries_part(settled, report, &scope.digest, said, list)
        })
    }

    /// Of one node with an exit that it uses: never more than it has marks for, so that its report lists them all.
    pub(super) fn of_used(
        context: &LoweringContext<'_>,
        settled: &SettledNode,
        node: &NodeName,
        exit: &ExitRoute,
    ) -> Self {
        Self::reported(context, node, |report| {
            let said = report.exits.get(&exit.exit);
            let said = said.map(|said| said.digest.as_ref());
            carries_part(settled, report, &exit.digest, said, ListExtent::All)
        })
    }

    /// Of one node with an exit that it serves.
    pub(super) fn of_served(
        context: &LoweringContext<'_>,
        settled: &SettledNode,
        node: &NodeName,
        exit: &ServedExit,
    ) -> Self {
        Self::reported(context, node, |report| {
            let said = report.served.get(&exit.exit);
            let said = said.map(|said| said.digest.as_ref());
            let list = ListExtent::of(report.served.len(), SERVED_LISTED);
            carries_part(settled, report, &exit.digest, said, list)
        })
    }

    /// Of one node with its isolation.
    pub(super) fn of_isolation(
        context: &LoweringContext<'_>,
        settled: &SettledNode,
        node: &NodeName,
        wanted: &SectionDigest,
    ) -> Self {
        Self::reported(context, node, |report| {
            let said = report.isolation.as_ref();
            let said = said.map(|said| said.digest.as_ref());
            carries_part(settled, report, wanted, said, ListExtent::All)
        })
    }

    fn reported(
        context: &LoweringContext<'_>,
        node: &NodeName,
        carries: impl FnOnce(&SnapshotReport) -> bool,
    ) -> Self {
        let Some(report) = context.index.reports.get(node) else {
            return Self::Converging;
        };
        match report.freshness {
            Freshness::Old | Freshness::Ahead => Self::Stale,
            Freshness::Fresh if report.guard == Guard::Sealed && carries(report) => {
                Self::Programmed
            }
            Freshness::Fresh | Freshness::Unsaid => Self::Converging,
        }
    }

    /// Of two together: what is known not to be there decides before what nobody knows.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Converging, _) | (_, Self::Converging) => Self::Converging,
            (Self::Stale, _) | (_, Self::Stale) => Self::Stale,
            (Self::Programmed, Self::Programmed) => Self::Programmed,
        }
    }
}

/// Does a list of a report name everything that there is?
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListExtent {
    All,
    /// It is as long as it may be.
    Full,
}

impl ListExtent {
    const fn of(length: usize, most: usize) -> Self {
        if length < most { Self::All } else { Self::Full }
    }
}

/// Does it carry the newest documents? A refresh of the cluster document changes nothing about it.
fn carries_body(settled: &SettledNode, report: &SnapshotReport) -> bool {
    let reaches = |applied: Option<Serial>, wanted| applied.is_some_and(|serial| serial >= wanted);
    settled.outcome == NodeOutcome::Keep
        && reaches(report.applied_serial, settled.document.serial)
        && reaches(report.applied_cluster_serial, settled.facts)
}

/// What a restored node is to carry was never published. Of a part that a full list leaves out, the serial of the whole document
/// is all that is known.
fn carries_part(
    settled: &SettledNode,
    report: &SnapshotReport,
    wanted: &SectionDigest,
    said: Option<Option<&SectionDigest>>,
    listed: ListExtent,
) -> bool {
    match (said, listed) {
        _ if settled.outcome == NodeOutcome::Restored => false,
        (Some(digest), _) => digest == Some(wanted),
        (None, ListExtent::Full) => carries_body(settled, report),
        (None, ListExtent::All) => false,
    }
}

/// Nodes that something concerns, by how far they are.
#[derive(Clone, Default)]
pub(super) struct ConcernedNodes<'a> {
    pub(super) counts: NodeCounts,
    /// The first one, by name, whose word no longer counts.
    silent: Option<&'a NodeName>,
    /// Those that do not carry it yet, by name.
    behind: Vec<&'a NodeName>,
}

impl<'a> ConcernedNodes<'a> {
    /// One more, in the order of the names.
    pub(super) fn add(&mut self, node: &'a NodeName, progress: Progress) {
        self.counts.desired += 1;
        match progress {
            Progress::Programmed => self.counts.programmed += 1,
            Progress::Stale => {
                self.counts.stale += 1;
                self.silent = self.silent.or(Some(node));
            }
            Progress::Converging => self.behind.push(node),
        }
    }

    /// How far they are together, as in [`Progress::and`].
    pub(super) fn progress(&self) -> Progress {
        let NodeCounts {
            desired,
            programmed,
            stale,
        } = self.counts;
        if programmed == desired {
            Progress::Programmed
        } else if programmed + stale == desired {
            Progress::Stale
        } else {
            Progress::Converging
        }
    }

    /// Whose word no longer counts, as a sentence.
    pub(super) fn silence(&self) -> Option<String> {
        let first = self.silent?;
        Some(match self.counts.stale - 1 {
            0 => silent(first),
            more => format!("what {first} and {more} more nodes last reported no longer counts"),
        })
    }

    /// How many of these carry it.
    pub(super) fn sentence(&self, these: &str) -> String {
        let NodeCounts {
            desired,
            programmed,
            ..
        } = self.counts;
        let mut parts = vec![format!("{programmed} of {desired} {these}")];
        if !self.behind.is_empty() {
            parts.push(format!("behind: {}", first_names(&self.behind)));
        }
        parts.extend(self.silence());
        parts.join("; ")
    }
}

/// That the word of a node no longer counts.
pub(super) fn silent(node: &NodeName) -> String {
    format!("what {node} last reported no longer counts")
}
