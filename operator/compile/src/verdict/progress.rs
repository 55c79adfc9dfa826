//! How far nodes are with what is in force for them, as they report.

use std::collections::BTreeMap;

use postern_intent::NodeName;
use postern_intent::body::{ExitRoute, Scope, ServedExit};

use super::NodeCounts;
use crate::compile::{NodeOutcome, Settled};
use crate::first_names;
use crate::lower::Context;
use crate::snapshot::{Freshness, Guard, Report};

/// How many scopes a report lists: the definition's `maxItems`.
const SCOPES_REPORTED: usize = 128;

/// How far a node is, or several are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It carries the body that is in force for it behind a guard, both read back not long ago.
    Programmed,
    /// It does not yet.
    Converging,
    /// What it last said no longer counts, so that nobody knows.
    Stale,
}

impl Progress {
    /// Of one node with its whole body.
    pub(super) fn of(
        context: &Context<'_>,
        settled: &BTreeMap<&NodeName, Settled>,
        node: &NodeName,
    ) -> Self {
        let Some(settled) = settled.get(node) else {
            return Self::Converging;
        };
        Self::reported(context, node, |report| {
            settled.outcome == NodeOutcome::Keep
                && report
                    .applied_serial
                    .is_some_and(|applied| applied >= settled.body.serial)
        })
    }

    /// Of one node with one scope. A refresh, or a change of another scope, changes nothing about it.
    pub(super) fn of_scope(
        context: &Context<'_>,
        settled: &Settled,
        node: &NodeName,
        scope: &Scope,
    ) -> Self {
        Self::reported(context, node, |report| {
            match report.scopes.get(&scope.policy.uid) {
                Some(said) => said.digest.as_ref() == Some(&scope.digest),
                // A report lists so many scopes and no more: of the others the body's serial is all that is known.
                None => {
                    report.scopes.len() >= SCOPES_REPORTED
                        && report
                            .applied_serial
                            .is_some_and(|applied| applied >= settled.body.serial)
                }
            }
        })
    }

    /// Of one node with an exit that it uses.
    pub(super) fn of_used(context: &Context<'_>, node: &NodeName, exit: &ExitRoute) -> Self {
        Self::reported(context, node, |report| {
            let said = report.exits.get(&exit.exit);
            said.and_then(|said| said.digest.as_ref()) == Some(&exit.digest)
        })
    }

    /// Of one node with an exit that it serves.
    pub(super) fn of_served(context: &Context<'_>, node: &NodeName, exit: &ServedExit) -> Self {
        Self::reported(context, node, |report| {
            let said = report.served.get(&exit.exit);
            said.and_then(|said| said.digest.as_ref()) == Some(&exit.digest)
        })
    }

    fn reported(
        context: &Context<'_>,
        node: &NodeName,
        carries: impl FnOnce(&Report) -> bool,
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

/// Nodes that something concerns, by how far they are.
#[derive(Clone, Default)]
pub(super) struct Concerned<'a> {
    pub(super) counts: NodeCounts,
    /// The first one, by name, whose word no longer counts.
    silent: Option<&'a NodeName>,
    /// Those that do not carry it yet, by name.
    behind: Vec<&'a NodeName>,
}

impl<'a> Concerned<'a> {
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
