//! Nodes: what is published for each, and what its agent has seen of that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use postern_compile::gate::{ApprovalCause, ApprovalSubject, PendingApproval};
use postern_compile::snapshot::Freshness;
use postern_crds::conditions::{ConditionType, Reason};
use postern_crds::names::CLUSTER_INTENT;
use postern_crds::{NodeIntent, NodeReport};
use serde::Serialize;

use super::conditions::{Conditions, LineFinding};
use crate::cluster::{ClusterObjects, ReadResult, UnreadableObject};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLine {
    pub name: String,
    /// When its agent last found that the kernel agrees, as the last report says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// How long ago that was, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_age_seconds: Option<i64>,
    /// Serial that its kernel carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_serial: Option<u64>,
    /// Serial that is published for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_serial: Option<u64>,
    /// Whether its guard was read back: `True`, `False` or `Unknown`.
    pub fail_closed: String,
    /// Whether its kernel carries what was asked for: `True`, `False` or `Unknown`.
    pub programmed: String,
    /// Why not everything is as asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<LineFinding>,
}

const CONDITIONS: [ConditionType; 4] = [
    ConditionType::FailClosed,
    ConditionType::Accepted,
    ConditionType::Programmed,
    ConditionType::Verified,
];

/// What there is about one node.
struct NodeObjects<'a> {
    held: Option<&'a PendingApproval>,
    intent: Option<&'a NodeIntent>,
    report: Option<&'a NodeReport>,
    unreadable: Option<&'a UnreadableObject>,
    now: Timestamp,
}

impl NodeLine {
    pub(super) const HEADER: [&'static str; 7] = [
        "NODE",
        "REPORT",
        "APPLIED",
        "PUBLISHED",
        "FAILCLOSED",
        "PROGRAMMED",
        "MESSAGE",
    ];

    /// Every node that something is published for, that reports, or that waits for an approval.
    pub(crate) fn all(objects: &ClusterObjects, now: Timestamp) -> Vec<Self> {
        let intents = by_name(&objects.intents, |intent| intent.metadata.name.as_deref());
        let reports = by_name(&objects.reports, |report| report.metadata.name.as_deref());
        let held: BTreeMap<&str, &PendingApproval> =
            objects.held.iter().filter_map(of_node).collect();
        let names: BTreeSet<&str> = intents
            .keys()
            .chain(reports.keys())
            .chain(held.keys())
            .copied()
            .filter(|name| *name != CLUSTER_INTENT)
            .collect();
        let line = |name: &str| {
            let (intent, report) = (intents.get(name).copied(), reports.get(name).copied());
            let unreadable = [intent.and_then(bad), report.and_then(bad)];
            let seen = NodeObjects {
                held: held.get(name).copied(),
                intent: intent.and_then(|intent| intent.as_ref().ok()),
                report: report.and_then(|report| report.as_ref().ok()),
                unreadable: unreadable.into_iter().flatten().next(),
                now,
            };
            seen.line(name)
        };
        names.into_iter().map(line).collect()
    }

    pub(super) fn row(&self) -> Vec<String> {
        let serial = |serial: Option<u64>| serial.map(|serial| serial.to_string());
        let age = self.report_age_seconds.map(SignedDuration::from_secs);
        vec![
            self.name.clone(),
            age.map(|age| format!("{age:#}")).unwrap_or_default(),
            serial(self.applied_serial).unwrap_or_default(),
            serial(self.published_serial).unwrap_or_default(),
            self.fail_closed.clone(),
            self.programmed.clone(),
            LineFinding::cell(self.finding.as_ref()),
        ]
    }
}

fn by_name<'a, K>(
    objects: &'a [ReadResult<K>],
    name: impl Fn(&'a K) -> Option<&'a str>,
) -> BTreeMap<&'a str, &'a ReadResult<K>> {
    let named = objects.iter().map(|object| match object {
        Ok(good) => (name(good).unwrap_or_default(), object),
        Err(bad) => (bad.name.as_str(), object),
    });
    named.collect()
}

fn bad<K>(object: &ReadResult<K>) -> Option<&UnreadableObject> {
    object.as_ref().err()
}

fn of_node(held: &PendingApproval) -> Option<(&str, &PendingApproval)> {
    match &held.subject {
        ApprovalSubject::Node(name) => Some((name.as_str(), held)),
        ApprovalSubject::Policy(_) | ApprovalSubject::Namespace(_) => None,
    }
}

impl NodeObjects<'_> {
    fn line(&self, name: &str) -> NodeLine {
        let status = self.report.and_then(|report| report.status.as_ref());
        let conditions = Conditions {
            all: status.map_or(&[], |status| &status.conditions),
            generation: None,
        };
        NodeLine {
            name: name.to_owned(),
            verified_at: self.verified_at(),
            report_age_seconds: self.age().map(|age| age.as_secs()),
            applied_serial: self.applied(),
            published_serial: self.published(),
            fail_closed: conditions.status(ConditionType::FailClosed),
            programmed: conditions.status(ConditionType::Programmed),
            finding: self.finding(&conditions),
        }
    }

    fn verified_at(&self) -> Option<Timestamp> {
        let status = self.report?.status.as_ref()?;
        status.verified_at.as_ref().map(|time| time.0)
    }

    /// A clock that is behind the node's makes no report younger than new.
    fn age(&self) -> Option<SignedDuration> {
        let age = self.now.duration_since(self.verified_at()?);
        Some(age.max(SignedDuration::ZERO))
    }

    fn applied(&self) -> Option<u64> {
        self.report?.status.as_ref()?.applied_serial
    }

    fn published(&self) -> Option<u64> {
        self.intent.map(|intent| intent.spec.serial)
    }

    /// The first thing that is not as it should be, the most telling first.
    fn finding(&self, conditions: &Conditions<'_>) -> Option<LineFinding> {
        let waits = self.held.map(|held| {
            let reason = match held.cause {
                ApprovalCause::Restored => Reason::Restored,
                _ => Reason::ReleaseHeld,
            };
            let message = format!(
                "nothing is published for it until somebody approves: posternctl approve {}",
                held.subject
            );
            LineFinding::new(reason, message)
        });
        waits
            .or_else(|| self.unreadable.map(LineFinding::unreadable))
            .or_else(|| self.silence())
            .or_else(|| self.condition(conditions))
            .or_else(|| self.lag())
    }

    /// A condition that does not hold: of the report, or of the intent, where the operator refuses what the node reports.
    fn condition(&self, conditions: &Conditions<'_>) -> Option<LineFinding> {
        let said = conditions.finding(&CONDITIONS);
        let verdict = self.intent.and_then(|intent| {
            let status = intent.status.as_ref()?;
            let verdict = Conditions {
                all: &status.conditions,
                generation: intent.metadata.generation,
            };
            verdict.fault(&[ConditionType::Accepted, ConditionType::Ready])
        });
        match (said, verdict) {
            (Some(said), Some(verdict)) if said.is_passing() => Some(verdict),
            (said, verdict) => said.or(verdict),
        }
    }

    /// Nobody has spoken for the node, or not for long.
    fn silence(&self) -> Option<LineFinding> {
        let Some(age) = self.age() else {
            let message = "its agent has not reported what it found in the kernel";
            return Some(LineFinding::new(Reason::Pending, message));
        };
        let message = match Freshness::of(self.verified_at(), self.now) {
            Freshness::Fresh => return None,
            Freshness::Ahead => {
                "its clock is ahead, so that nobody can tell how old its report is".to_owned()
            }
            Freshness::Unsaid | Freshness::Old => {
                format!("its agent has not said for {age:#} that the kernel agrees")
            }
        };
        Some(LineFinding::new(Reason::Stale, message))
    }

    /// What the kernel carries is not what is published.
    fn lag(&self) -> Option<LineFinding> {
        match (self.published(), self.applied()) {
            (None, _) => Some(LineFinding::new(
                Reason::NoIntent,
                Reason::NoIntent.sentence(),
            )),
            (published, applied) if published == applied => None,
            _ => {
                let message = "its kernel does not carry what is published yet";
                Some(LineFinding::new(Reason::Converging, message))
            }
        }
    }
}
