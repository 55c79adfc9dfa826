//! Records of what policies decide about connections and names, for policies with `audit`. Metadata only.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use postern_intent::body::PolicyRef;
use postern_intent::{Address, Body, Namespace, PodName, Uid};
use postern_plan::Desired;
use postern_plan::desired::{AddressClass, RecordGround, RecordPoints, RecordStage};
use postern_plan::host::LoggedPacket;
use postern_plan::ruleset::RECORDS_PER_SECOND;

/// Connections whose rule is known and that have not left yet. The two follow each other at once.
const CHOSEN: usize = 4096;

/// What records are made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordTable {
    /// What the names mean under which the kernel tells of packets.
    pub points: RecordPoints,
    /// By address, the pods of policies with records.
    pub pods: BTreeMap<Address, AuditedPod>,
}

/// A pod whose policy has records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedPod {
    pub namespace: Namespace,
    pub name: PodName,
    pub uid: Uid,
    pub policy: PolicyRef,
}

impl RecordTable {
    /// Of a node with this body. O(pods · scopes with records).
    #[must_use]
    pub fn of(desired: &Desired, body: &Body) -> Self {
        let scopes = body.firewall.iter();
        let audited: BTreeMap<_, _> = scopes
            .filter(|scope| !scope.terms.audit.is_none())
            .map(|scope| (&scope.id, &scope.policy))
            .collect();
        let pods = desired.classes.iter();
        let pods = pods.filter_map(|(address, pod)| {
            let AddressClass::Scope(scope) = &pod.class else {
                return None;
            };
            let policy = (*audited.get(scope)?).clone();
            let pod = AuditedPod {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                policy,
            };
            Some((*address, pod))
        });
        Self {
            points: desired.records.clone(),
            pods: pods.collect(),
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordVerdict {
    Allowed,
    Denied,
    /// The policy only observes.
    WouldDeny,
}

/// The end of a question, as the forwarder tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameDecision {
    pub client: Address,
    /// In its canonical form: lower case, without the dot at the end.
    pub name: String,
    pub verdict: RecordVerdict,
    /// The outcome of the question.
    pub reason: &'static str,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionRecord {
    pub pod: AuditedPod,
    pub verdict: RecordVerdict,
    /// Why: [`RecordGround::word`], or the outcome of the question.
    pub reason: &'static str,
    /// The policy's rule that decided, where one did.
    pub rule: Option<String>,
    pub about: RecordSubject,
}

/// What was decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordSubject {
    Connection(LoggedPacket),
    Name(String),
}

type FlowKey = (IpAddr, IpAddr, u8, Option<(u16, u16)>);

/// Makes records of what the kernel and the forwarder tell.
#[derive(Debug, Default)]
pub struct Recorder {
    table: RecordTable,
    /// The table before, because packets of a former ruleset may still be on their way.
    former: RecordTable,
    chosen: BTreeMap<FlowKey, RecordGround>,
    order: VecDeque<FlowKey>,
    /// Names of each policy that were recorded since the second began.
    names: BTreeMap<PolicyRef, u32>,
    second: Timestamp,
}

impl Recorder {
    /// A new ruleset is coming into force.
    pub fn change(&mut self, table: RecordTable) {
        self.former = std::mem::replace(&mut self.table, table);
    }

    /// None: only a step of a decision, or of a pod that is not known any more.
    pub fn packet(&mut self, packet: LoggedPacket) -> Option<DecisionRecord> {
        let tables = [&self.table, &self.former];
        let mut points = tables.iter();
        let point = points
            .find_map(|table| table.points.get(&packet.name))?
            .clone();
        let pod = self.pod(packet.source)?;
        let key = (
            packet.source,
            packet.destination,
            packet.protocol,
            packet.ports,
        );
        let (verdict, ground) = match point.stage {
            RecordStage::Chosen => {
                self.remember(key, point.ground);
                return None;
            }
            RecordStage::WouldRefuse => {
                self.remember(key, point.ground.clone());
                (RecordVerdict::WouldDeny, point.ground)
            }
            RecordStage::Refused => (RecordVerdict::Denied, point.ground),
            RecordStage::Left => {
                let chosen = self.chosen.remove(&key);
                (RecordVerdict::Allowed, chosen.unwrap_or(point.ground))
            }
        };
        Some(DecisionRecord {
            pod,
            verdict,
            reason: ground.word(),
            rule: match ground {
                RecordGround::Rule(name) => Some(name),
                _ => None,
            },
            about: RecordSubject::Connection(packet),
        })
    }

    /// None: of a pod that is not known, or more than [`RECORDS_PER_SECOND`] of one policy.
    ///
    /// # Errors
    /// [`TooManyNames`].
    pub fn name(
        &mut self,
        decision: NameDecision,
        now: Timestamp,
    ) -> Result<Option<DecisionRecord>, TooManyNames> {
        let Some(pod) = self.pod(decision.client) else {
            return Ok(None);
        };
        if now.duration_since(self.second).abs() >= SignedDuration::from_secs(1) {
            self.names.clear();
            self.second = now;
        }
        let names = self.names.entry(pod.policy.clone()).or_default();
        *names += 1;
        if *names > RECORDS_PER_SECOND {
            return Err(TooManyNames);
        }
        Ok(Some(DecisionRecord {
            pod,
            verdict: decision.verdict,
            reason: decision.reason,
            rule: None,
            about: RecordSubject::Name(decision.name),
        }))
    }

    fn pod(&self, address: IpAddr) -> Option<AuditedPod> {
        let mut tables = [&self.table, &self.former].into_iter();
        tables.find_map(|table| table.pods.get(&address)).cloned()
    }

    fn remember(&mut self, key: FlowKey, ground: RecordGround) {
        if self.chosen.insert(key, ground).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CHOSEN
            && let Some(first) = self.order.pop_front()
        {
            self.chosen.remove(&first);
        }
    }
}

/// A policy asked for more names in a second than are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyNames;

#[cfg(test)]
mod tests {
    use postern_host_testing::fixture::client;
    use postern_plan::desired::RecordPoint;

    use super::*;

    const POD: &str = "10.244.1.2";
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn policy() -> PolicyRef {
        client().firewall[0].policy.clone()
    }

    /// A table with one pod, and a point of each stage that is named after it.
    fn table() -> RecordTable {
        let point = |stage, ground| RecordPoint {
            policy: policy(),
            stage,
            ground,
        };
        let shop = RecordGround::Rule("shop".to_owned());
        let points = [
            ("chosen", point(RecordStage::Chosen, shop.clone())),
            ("left", point(RecordStage::Left, RecordGround::Way)),
            ("refused", point(RecordStage::Refused, RecordGround::Lease)),
            ("would", point(RecordStage::WouldRefuse, shop)),
        ];
        let pod = AuditedPod {
            namespace: "crawlers".parse().unwrap(),
            name: "a".parse().unwrap(),
            uid: "a-uid".parse().unwrap(),
            policy: policy(),
        };
        RecordTable {
            points: points.map(|(name, point)| (name.to_owned(), point)).into(),
            pods: [(POD.parse().unwrap(), pod)].into(),
        }
    }

    fn packet(name: &str, port: u16) -> LoggedPacket {
        LoggedPacket {
            name: name.to_owned(),
            source: POD.parse().unwrap(),
            destination: "203.0.113.7".parse().unwrap(),
            protocol: 6,
            ports: Some((40_000, port)),
            length: 60,
        }
    }

    type Seen<'a> = Option<(RecordVerdict, &'static str, Option<&'a str>)>;

    fn seen(record: Option<&DecisionRecord>) -> Seen<'_> {
        record.map(|record| (record.verdict, record.reason, record.rule.as_deref()))
    }

    #[test]
    fn a_connection_that_leaves_is_recorded_once_and_with_the_rule_that_let_it_go_on() {
        let mut recorder = Recorder::default();
        recorder.change(table());
        assert_eq!(recorder.packet(packet("chosen", 443)), None);
        assert_eq!(recorder.packet(packet("chosen", 80)), None);
        let left = recorder.packet(packet("left", 443));
        let by_rule = Some((RecordVerdict::Allowed, "Rule", Some("shop")));
        assert_eq!(seen(left.as_ref()), by_rule);
        // Its rule was not told, or not in time.
        let left = recorder.packet(packet("left", 443));
        assert_eq!(
            seen(left.as_ref()),
            Some((RecordVerdict::Allowed, "WayOut", None))
        );
        let refused = recorder.packet(packet("refused", 80));
        let by_lease = Some((RecordVerdict::Denied, "IntentExpired", None));
        assert_eq!(seen(refused.as_ref()), by_lease);
        let would = recorder.packet(packet("would", 25));
        let by_rule = Some((RecordVerdict::WouldDeny, "Rule", Some("shop")));
        assert_eq!(seen(would.as_ref()), by_rule);
    }

    #[test]
    fn a_packet_of_the_ruleset_before_is_still_understood_and_one_of_a_stranger_is_not_recorded() {
        let mut recorder = Recorder::default();
        recorder.change(table());
        recorder.change(RecordTable::default());
        assert!(recorder.packet(packet("refused", 80)).is_some());
        recorder.change(RecordTable::default());
        assert_eq!(recorder.packet(packet("refused", 80)), None);
        recorder.change(table());
        assert_eq!(recorder.packet(packet("another", 80)), None);
        let mut stranger = packet("refused", 80);
        stranger.source = "10.244.1.9".parse().unwrap();
        assert_eq!(recorder.packet(stranger), None);
    }

    #[test]
    fn what_is_remembered_of_connections_and_what_is_recorded_of_names_is_bounded() {
        let mut recorder = Recorder::default();
        recorder.change(table());
        for port in 0..=u16::MAX {
            recorder.packet(packet("chosen", port));
        }
        assert_eq!(
            (recorder.chosen.len(), recorder.order.len()),
            (CHOSEN, CHOSEN)
        );
        let mut name = |now| {
            let decision = NameDecision {
                client: POD.parse().unwrap(),
                name: "example.org".to_owned(),
                verdict: RecordVerdict::Denied,
                reason: "name-refused",
            };
            recorder.name(decision, now).map(|record| record.is_some())
        };
        let second = NOW + SignedDuration::from_secs(1);
        for _ in 0..RECORDS_PER_SECOND {
            assert_eq!(name(second), Ok(true));
        }
        assert_eq!(name(second), Err(TooManyNames));
        assert_eq!(name(second + SignedDuration::from_secs(1)), Ok(true));
    }
}
