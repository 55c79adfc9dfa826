//! The end of a trace. Agents have no exporter, so the leader ends the trace in their place: once a node's report says
//! that its kernel carries what was published and was read back so.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use postern_compile::publish::{DocumentChange, SignedDocument};
use postern_crds::conditions::{ConditionType, is_true};
use postern_crds::{NodeReport, NodeReportStatus};
use postern_intent::NodeName;
use postern_intent::envelope::PayloadType;
use postern_telemetry::{Late, TraceOrigin};

use super::publish::PlannedWrite;
use super::shown_envelope::from_shown;
use crate::watches::WatchedObject;

/// A document that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedBody {
    pub serial: u64,
    pub digest: String,
    /// When its write was sent.
    pub at: Timestamp,
}

/// What was published and is not reported as applied yet: the newest document of each node at most, so that no node ends a
/// trace twice. A document that another one replaces before its node reported it is forgotten. `T` is what a document's trace goes
/// on from.
#[derive(Debug)]
pub struct Arrivals<T>(BTreeMap<NodeName, (IssuedBody, T)>);

/// A document that is in a node's kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival<T> {
    pub node: NodeName,
    pub issued: IssuedBody,
    /// The span that its trace continues.
    pub origin: T,
    /// When it was there.
    pub at: Timestamp,
    /// Which time that is.
    pub clock: ArrivalClock,
}

/// Whose time the end of an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalClock {
    /// The node's: when it last read its kernel back, as its report says.
    VerifiedAt,
    /// The leader's: when it saw the report, which gives no time, or one before the publishing or after now. Clocks differ,
    /// and a report is untrusted.
    Seen,
}

impl ArrivalClock {
    const fn as_str(self) -> &'static str {
        match self {
            Self::VerifiedAt => "verifiedAt",
            Self::Seen => "seen",
        }
    }
}

impl<T> Default for Arrivals<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Arrivals<T> {
    /// A new document was published, in the place of an earlier one.
    pub fn begin(&mut self, node: NodeName, issued: IssuedBody, origin: T) {
        self.0.insert(node, (issued, origin));
    }

    /// The node is gone for good.
    pub fn forget(&mut self, node: &NodeName) {
        self.0.remove(node);
    }

    /// Takes out what arrived since the last look, by the nodes' reports.
    pub fn take(
        &mut self,
        now: Timestamp,
        report: impl Fn(&NodeName) -> Option<Arc<WatchedObject<NodeReport>>>,
    ) -> Vec<Arrival<T>> {
        let ended = |(node, (issued, _)): (&NodeName, &(IssuedBody, T))| {
            let found = report(node)?;
            let status = found.good()?.status.as_ref()?;
            Some((node.clone(), end(issued, status, now)?))
        };
        let ended: Vec<(NodeName, (Timestamp, ArrivalClock))> =
            self.0.iter().filter_map(ended).collect();
        let arrived = ended.into_iter().filter_map(|(node, (at, clock))| {
            let (issued, origin) = self.0.remove(&node)?;
            Some(Arrival {
                node,
                issued,
                origin,
                at,
                clock,
            })
        });
        arrived.collect()
    }
}

/// When a document was in the kernel, if the report says that it is and that reading back agreed.
fn end(
    issued: &IssuedBody,
    status: &NodeReportStatus,
    now: Timestamp,
) -> Option<(Timestamp, ArrivalClock)> {
    let applied = status.applied_serial == Some(issued.serial)
        && status.applied_digest.as_deref() == Some(issued.digest.as_str());
    if !applied || !is_true(&status.conditions, ConditionType::Verified) {
        return None;
    }
    let verified_at = status.verified_at.as_ref().map(|time| time.0);
    let verified_at = verified_at.filter(|at| (issued.at..=now).contains(at));
    Some(
        verified_at.map_or((now.max(issued.at), ArrivalClock::Seen), |at| {
            (at, ArrivalClock::VerifiedAt)
        }),
    )
}

impl Arrivals<TraceOrigin> {
    /// A write went well. Nothing is remembered of what only put back what was there, nothing of the cluster document, which no
    /// single node ends, and nothing while no traces are made.
    pub fn published<D: SignedDocument>(&mut self, one: &PlannedWrite<D>, at: Timestamp) {
        if one.change != DocumentChange::New || D::KIND != PayloadType::Intent {
            return;
        }
        let Some(origin) = TraceOrigin::here() else {
            return;
        };
        let envelope = one.object.spec.envelope.as_ref().and_then(from_shown);
        if let Some(digest) = envelope.and_then(|envelope| envelope.digest().ok()) {
            let serial = one.document.serial().0;
            let issued = IssuedBody { serial, digest, at };
            self.begin(one.node.clone(), issued, origin);
        }
    }

    /// Ends the traces of what arrived: a span `apply` for each node.
    pub fn end_traces(&mut self, reports: &Store<WatchedObject<NodeReport>>) {
        let report = |node: &NodeName| reports.get(&ObjectRef::new(node.as_str()));
        for arrival in self.take(Timestamp::now(), report) {
            arrival.origin.add(Late {
                name: "apply",
                begun: arrival.issued.at.into(),
                ended: arrival.at.into(),
                attributes: vec![
                    ("node", arrival.node.to_string()),
                    ("serial", arrival.issued.serial.to_string()),
                    ("digest", arrival.issued.digest),
                    ("ended_by", arrival.clock.as_str().to_owned()),
                ],
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use postern_crds::conditions::{ConditionType, Finding, Reason, set};
    use postern_crds::{NodeReport, NodeReportStatus};
    use postern_intent::NodeName;

    use super::{ArrivalClock, Arrivals, IssuedBody};
    use crate::watches::WatchedObject;

    fn node(name: &str) -> NodeName {
        name.parse().expect("a name")
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Published at second 100.
    fn issued(serial: u64) -> IssuedBody {
        IssuedBody {
            serial,
            digest: format!("digest-{serial}"),
            at: second(100),
        }
    }

    fn awaited(node_name: &str, serial: u64) -> Arrivals<&'static str> {
        let mut arrivals = Arrivals::default();
        arrivals.begin(node(node_name), issued(serial), "publish");
        arrivals
    }

    /// A report of this serial, read back at this second and found so.
    fn applied(serial: u64, verified_at: i64) -> NodeReportStatus {
        let mut status = NodeReportStatus {
            applied_serial: Some(serial),
            applied_digest: Some(format!("digest-{serial}")),
            verified_at: Some(MicroTime(second(verified_at))),
            ..NodeReportStatus::default()
        };
        let found = Finding::yes(ConditionType::Verified, Reason::Verified, "");
        set(&mut status.conditions, &found, None, second(verified_at));
        status
    }

    /// The same report for every node; the leader reads it at second 200.
    fn look(
        arrivals: &mut Arrivals<&'static str>,
        status: &NodeReportStatus,
    ) -> Vec<(String, u64, i64, ArrivalClock)> {
        let report = Arc::new(WatchedObject::Good(NodeReport {
            status: Some(status.clone()),
            ..NodeReport::default()
        }));
        let arrived = arrivals.take(second(200), |_| Some(Arc::clone(&report)));
        arrived
            .into_iter()
            .map(|one| {
                let at = one.at.as_second();
                (one.node.to_string(), one.issued.serial, at, one.clock)
            })
            .collect()
    }

    #[test]
    fn a_body_arrives_once_when_a_report_says_that_it_is_in_the_kernel_and_was_read_back() {
        let mut arrivals = awaited("n1", 7);
        arrivals.begin(node("n2"), issued(8), "publish");
        assert_eq!(look(&mut arrivals, &NodeReportStatus::default()), []);
        assert_eq!(look(&mut arrivals, &applied(6, 130)), [], "an older one");
        let here = ("n1".to_owned(), 7, 130, ArrivalClock::VerifiedAt);
        assert_eq!(look(&mut arrivals, &applied(7, 130)), [here]);
        assert_eq!(look(&mut arrivals, &applied(7, 190)), [], "a second report");
        let other = ("n2".to_owned(), 8, 190, ArrivalClock::VerifiedAt);
        assert_eq!(look(&mut arrivals, &applied(8, 190)), [other]);
    }

    #[test]
    fn what_is_written_and_not_read_back_has_not_arrived() {
        let mut status = applied(7, 130);
        let doubt = Finding::no(ConditionType::Verified, Reason::Mismatch, "a route");
        set(&mut status.conditions, &doubt, None, second(130));
        assert_eq!(look(&mut awaited("n1", 7), &status), []);
        let other = NodeReportStatus {
            applied_digest: Some("another".to_owned()),
            ..applied(7, 130)
        };
        assert_eq!(look(&mut awaited("n1", 7), &other), [], "another body");
    }

    #[test]
    fn a_time_that_cannot_be_is_replaced_by_the_time_of_the_look() {
        let seen = |status: &NodeReportStatus| {
            let found = look(&mut awaited("n1", 7), status);
            assert_eq!(found, [("n1".to_owned(), 7, 200, ArrivalClock::Seen)]);
        };
        seen(&applied(7, 99));
        seen(&applied(7, 201));
        seen(&NodeReportStatus {
            verified_at: None,
            ..applied(7, 130)
        });
    }

    #[test]
    fn a_body_that_was_replaced_and_one_of_a_node_that_went_are_not_waited_for() {
        let mut arrivals = awaited("n1", 7);
        arrivals.begin(node("n1"), issued(8), "publish");
        assert_eq!(look(&mut arrivals, &applied(7, 130)), []);
        arrivals.forget(&node("n1"));
        assert_eq!(look(&mut arrivals, &applied(8, 130)), []);
    }
}
