//! Records of what policies decide about connections and names, for policies with `audit`. Metadata only.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use postern_intent::body::PolicyRef;
use postern_intent::{Address, Body, Namespace, PodName, Uid};
use postern_plan::Desired;
use postern_plan::desired::{AddressClass, RecordGround, RecordPoint, RecordPoints, RecordStage};
use postern_plan::host::LoggedPacket;
use postern_plan::ruleset::RECORDS_PER_SECOND;

/// Connections whose rule is known and that have not left yet. The two follow each other at once.
const CHOSEN: usize = 4096;

/// Records of a policy in one second.
pub const POLICY_RECORDS: u32 = 2 * RECORDS_PER_SECOND;
/// Records of the node in one second.
pub const NODE_RECORDS: u32 = 10 * RECORDS_PER_SECOND;

/// What records are made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordTable {
    /// What the prefixes of the log mean.
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

/// The end of a question for a name.
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

/// What a connection was let go on by.
#[derive(Debug)]
struct ChosenRule {
    /// Of its entry in the order.
    number: u64,
    stage: RecordStage,
    ground: RecordGround,
}

/// Whether a logged packet, or the end of a question, becomes a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    Record(Box<DecisionRecord>),
    /// No record: the connection's decision comes later, or is recorded already.
    Step,
    /// The agent does not know the log prefix or the pod.
    Unknown,
    /// Its policy, or the node, has too many in this second.
    Rate,
}

/// Makes records of logged packets and of questions that ended.
#[derive(Debug, Default)]
pub struct Recorder {
    table: RecordTable,
    /// The table before, because the kernel may still have its ruleset.
    former: RecordTable,
    chosen: BTreeMap<FlowKey, ChosenRule>,
    /// Oldest first.
    order: VecDeque<(u64, FlowKey)>,
    number: u64,
    rate: RecordRate,
}

impl Recorder {
    /// A new ruleset is coming into force.
    pub fn change(&mut self, table: RecordTable) {
        self.former = std::mem::replace(&mut self.table, table);
        self.chosen.clear();
        self.order.clear();
    }

    pub fn packet(&mut self, packet: LoggedPacket, now: Timestamp) -> RecordOutcome {
        let Some((point, pod)) = self.understand(&packet) else {
            return RecordOutcome::Unknown;
        };
        let key = (
            packet.source,
            packet.destination,
            packet.protocol,
            packet.ports,
        );
        let (verdict, ground) = match point.stage {
            RecordStage::Chosen => {
                self.remember(key, point.stage, point.ground);
                return RecordOutcome::Step;
            }
            RecordStage::WouldRefuse => {
                self.remember(key, point.stage, point.ground.clone());
                (RecordVerdict::WouldDeny, point.ground)
            }
            RecordStage::Refused => (RecordVerdict::Denied, point.ground),
            RecordStage::Left => match self.chosen.remove(&key) {
                Some(chosen) if chosen.stage == RecordStage::WouldRefuse => {
                    return RecordOutcome::Step;
                }
                chosen => {
                    let ground = chosen.map(|chosen| chosen.ground);
                    (RecordVerdict::Allowed, ground.unwrap_or(point.ground))
                }
            },
        };
        let (reason, rule) = (ground.word(), ground.rule());
        self.record(pod, now, |pod| DecisionRecord {
            pod,
            verdict,
            reason,
            rule,
            about: RecordSubject::Connection(packet),
        })
    }

    pub fn name(&mut self, decision: NameDecision, now: Timestamp) -> RecordOutcome {
        let found = |table: &RecordTable| table.pods.get(&decision.client).cloned();
        let Some(pod) = found(&self.table).or_else(|| found(&self.former)) else {
            return RecordOutcome::Unknown;
        };
        self.record(pod, now, |pod| DecisionRecord {
            pod,
            verdict: decision.verdict,
            reason: decision.reason,
            rule: None,
            about: RecordSubject::Name(decision.name),
        })
    }

    fn record(
        &mut self,
        pod: AuditedPod,
        now: Timestamp,
        record: impl FnOnce(AuditedPod) -> DecisionRecord,
    ) -> RecordOutcome {
        match self.rate.admits(&pod.policy, now) {
            true => RecordOutcome::Record(Box::new(record(pod))),
            false => RecordOutcome::Rate,
        }
    }

    /// The place and the pod by one table, so that no record has a rule of one policy and a pod of another.
    fn understand(&self, packet: &LoggedPacket) -> Option<(RecordPoint, AuditedPod)> {
        let tables = [&self.table, &self.former].into_iter();
        let mut found = tables.filter_map(|table| {
            let point = table.points.get(&packet.name)?;
            let pod = table.pods.get(&packet.source)?;
            (pod.policy == point.policy).then(|| (point.clone(), pod.clone()))
        });
        found.next()
    }

    fn remember(&mut self, key: FlowKey, stage: RecordStage, ground: RecordGround) {
        self.number += 1;
        let chosen = ChosenRule {
            number: self.number,
            stage,
            ground,
        };
        self.chosen.insert(key, chosen);
        self.order.push_back((self.number, key));
        if self.order.len() > CHOSEN
            && let Some((number, first)) = self.order.pop_front()
            && self
                .chosen
                .get(&first)
                .is_some_and(|one| one.number == number)
        {
            self.chosen.remove(&first);
        }
    }
}

/// How much is recorded of a policy and of the node in one second. What a pod sends fills neither a disk nor the records of
/// others.
#[derive(Debug, Default)]
struct RecordRate {
    second: Timestamp,
    policies: BTreeMap<PolicyRef, u32>,
    node: u32,
}

impl RecordRate {
    fn admits(&mut self, policy: &PolicyRef, now: Timestamp) -> bool {
        if now.duration_since(self.second).abs() >= SignedDuration::from_secs(1) {
            *self = Self {
                second: now,
                ..Self::default()
            };
        }
        let of_policy = self.policies.entry(policy.clone()).or_default();
        if *of_policy >= POLICY_RECORDS || self.node >= NODE_RECORDS {
            return false;
        }
        *of_policy += 1;
        self.node += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use postern_host_testing::fixture::client;

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
            ("left", point(RecordStage::Left, RecordGround::Unknown)),
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
            length: Some(60),
        }
    }

    type Seen = Option<(RecordVerdict, &'static str, Option<String>)>;

    fn seen(outcome: RecordOutcome) -> Seen {
        match outcome {
            RecordOutcome::Record(record) => Some((record.verdict, record.reason, record.rule)),
            RecordOutcome::Step | RecordOutcome::Unknown | RecordOutcome::Rate => None,
        }
    }

    fn by_shop(verdict: RecordVerdict) -> Seen {
        Some((verdict, "Rule", Some("shop".to_owned())))
    }

    fn recorder() -> Recorder {
        let mut recorder = Recorder::default();
        recorder.change(table());
        recorder
    }

    #[test]
    fn a_connection_that_leaves_is_recorded_once_and_with_the_rule_that_let_it_go_on() {
        let mut recorder = recorder();
        let mut tell = |name, port| recorder.packet(packet(name, port), NOW);
        assert_eq!(tell("chosen", 443), RecordOutcome::Step);
        assert_eq!(tell("chosen", 80), RecordOutcome::Step);
        assert_eq!(seen(tell("left", 443)), by_shop(RecordVerdict::Allowed));
        // Its rule was not told, or not in time.
        let unknown = Some((RecordVerdict::Allowed, "Unknown", None));
        assert_eq!(seen(tell("left", 443)), unknown);
        let by_lease = Some((RecordVerdict::Denied, "IntentExpired", None));
        assert_eq!(seen(tell("refused", 80)), by_lease);
        assert_eq!(seen(tell("would", 25)), by_shop(RecordVerdict::WouldDeny));
        assert_eq!(tell("left", 25), RecordOutcome::Step, "it has its record");
    }

    #[test]
    fn one_connection_after_the_other_with_the_same_addresses_and_ports_keeps_its_rule() {
        let mut recorder = recorder();
        for round in 0..2 * i64::try_from(CHOSEN).unwrap() {
            let now = NOW + SignedDuration::from_secs(round);
            recorder.packet(packet("chosen", 443), now);
            let left = recorder.packet(packet("left", 443), now);
            assert_eq!(seen(left), by_shop(RecordVerdict::Allowed), "{round}");
        }
    }

    #[test]
    fn a_packet_of_the_ruleset_before_is_still_understood_and_none_is_given_to_another_policy() {
        let mut recorder = recorder();
        recorder.change(RecordTable::default());
        let refused = recorder.packet(packet("refused", 80), NOW);
        assert!(seen(refused).is_some());
        recorder.change(RecordTable::default());
        let unknown = |recorder: &mut Recorder, packet| {
            assert_eq!(recorder.packet(packet, NOW), RecordOutcome::Unknown);
        };
        unknown(&mut recorder, packet("refused", 80));
        recorder.change(table());
        unknown(&mut recorder, packet("another", 80));
        let mut stranger = packet("refused", 80);
        stranger.source = "10.244.1.9".parse().unwrap();
        unknown(&mut recorder, stranger);
        let mut moved = table();
        for pod in moved.pods.values_mut() {
            pod.policy.name = "another".to_owned();
        }
        recorder.change(moved);
        let refused = recorder.packet(packet("refused", 80), NOW);
        let RecordOutcome::Record(record) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(record.pod.policy, policy(), "by the table before");
    }

    #[test]
    fn what_is_remembered_of_connections_and_what_is_recorded_in_a_second_is_bounded() {
        let mut recorder = recorder();
        for port in 0..=u16::MAX {
            recorder.packet(packet("chosen", port), NOW);
        }
        let sizes = (recorder.chosen.len(), recorder.order.len());
        assert_eq!(sizes, (CHOSEN, CHOSEN));
        let mut name = |now| {
            let decision = NameDecision {
                client: POD.parse().unwrap(),
                name: "example.org".to_owned(),
                verdict: RecordVerdict::Denied,
                reason: "name-refused",
            };
            recorder.name(decision, now)
        };
        let second = NOW + SignedDuration::from_secs(1);
        for _ in 0..POLICY_RECORDS {
            assert!(seen(name(second)).is_some());
        }
        assert_eq!(name(second), RecordOutcome::Rate);
        assert!(seen(name(second + SignedDuration::from_secs(1))).is_some());
    }
}
