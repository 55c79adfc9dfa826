//! From a message to its answer, the same for datagrams and connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use postern_agent_core::records::{NameDecision, RecordVerdict};
use postern_host::ports::TransportProtocol;
use postern_intent::body::{self, TermsAudit, TermsDnsMode, TermsEnforcement};
use postern_plan::desired::dns::{DnsEntry, DnsPlan};
use postern_plan::desired::{AskedResolver, NamedRule};
use postern_plan::host::Family;
use postern_plan::ruleset::Grant;
use tokio::sync::watch;

use super::circuits::{AskedCircuit, ResolverCircuits};
use super::counters::{DnsCounters, QuestionOutcome};
use super::decide::{DnsDecision, NodeNeed, decide, is_clusters, need, refusal};
use super::filter::{FilteredAnswer, filter};
use super::limits::{ClientLimits, Permit};
use super::node::DnsNode;
use super::own::NodeResolvers;
use super::question::{Code, DnsQuestion, MessageError, bare_answer};
use super::socket::ResolverPath;
use super::upstream::{AskedResolvers, UnansweredQuestion, ask};
use crate::grants::grant_time;

/// Questions of one pod that may be open at a time; a resolver that is silent holds one for 4 s.
const PER_CLIENT: usize = 256;
/// Questions of all pods that may be open at a time: each holds a socket.
const TOTAL: usize = 2048;
/// Questions that each pod may have open whatever others have.
const KEPT: usize = 8;

/// What every listener shares.
pub(super) struct Desk<N> {
    pub(super) table: watch::Receiver<DnsPlan>,
    pub(super) node: N,
    pub(super) own: NodeResolvers,
    pub(super) counters: DnsCounters,
    circuits: ResolverCircuits,
    limits: ClientLimits,
}

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) protocol: TransportProtocol,
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
}

impl<N: DnsNode> Desk<N> {
    pub(super) fn new(
        table: watch::Receiver<DnsPlan>,
        node: N,
        own: NodeResolvers,
        counters: DnsCounters,
        circuits: ResolverCircuits,
    ) -> Self {
        Self {
            circuits,
            table,
            node,
            own,
            counters,
            limits: ClientLimits::new(PER_CLIENT, TOTAL, KEPT),
        }
    }

    /// Does the table know the client? One that it does not know gets no answer at all.
    pub(super) fn knows(&self, client: SocketAddr) -> bool {
        let known = self.table.borrow().entries.contains_key(&client.ip());
        if !known {
            self.counters.count(QuestionOutcome::UnknownClient);
        }
        known
    }

    /// Leave for one question more, or none and a count.
    pub(super) fn admit(&self, client: SocketAddr) -> Option<Permit> {
        let permit = self.limits.admit(client.ip());
        if permit.is_none() {
            self.counters.count(QuestionOutcome::Limited);
        }
        permit
    }

    /// The answer to a message that is too long to be read.
    pub(super) fn refuse_oversized(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.counters.count(QuestionOutcome::Malformed);
        match DnsQuestion::read(message) {
            Err(MessageError::NoQuery) => None,
            _ => Some(bare_answer(message, Code::Malformed)),
        }
    }

    /// The answer to a message of a pod; none: it gets no answer. The policy's decision is recorded.
    pub(super) async fn answer(&self, asker: Asker, message: &[u8]) -> Option<Vec<u8>> {
        let (answer, decided) = self.answer_unrecorded(asker, message).await?;
        if let Some((question, outcome)) = decided {
            self.record(asker.client, &question, outcome);
        }
        Some(answer)
    }

    /// The same without a record, with what was asked and decided; none: the message could not be read.
    pub(super) async fn answer_unrecorded(
        &self,
        asker: Asker,
        message: &[u8],
    ) -> Option<(Vec<u8>, Option<(DnsQuestion, QuestionOutcome)>)> {
        let question = match DnsQuestion::read(message) {
            Ok(question) => question,
            Err(unreadable) => return Some((self.refuse_unreadable(unreadable, message)?, None)),
        };
        let asked = match self.need(asker.client, &question)? {
            NodeNeed::AskedAddress => {
                let found =
                    self.node
                        .original_destination(asker.protocol, asker.client, asker.local);
                found.await.map(|address| AskedResolver {
                    address,
                    protocol: match asker.protocol {
                        TransportProtocol::Tcp => body::RuleProtocol::Tcp,
                        TransportProtocol::Udp => body::RuleProtocol::Udp,
                    },
                })
            }
            NodeNeed::Nothing => None,
        };
        let decision = self.decide(asker.client, &question, asked)?;
        let (answer, mut outcome) =
            carry_out(asker, &self.circuits, &decision, &question, message).await;
        let answer = match outcome {
            QuestionOutcome::Exit | QuestionOutcome::WouldRefuse => {
                let brought = (answer, outcome);
                let judged = self
                    .bring(asker.client, &question, message, brought)
                    .await?;
                outcome = judged.1;
                judged.0
            }
            _ => answer,
        };
        self.counters.count(outcome);
        let answer = match asker.protocol {
            TransportProtocol::Udp => question.in_datagram(message, answer),
            TransportProtocol::Tcp => answer,
        };
        Some((answer, Some((question, outcome))))
    }

    /// What a policy with `audit` decided about a name outside the cluster.
    fn record(&self, client: SocketAddr, question: &DnsQuestion, outcome: QuestionOutcome) {
        let Some(decided) = outcome.verdict() else {
            return;
        };
        let verdict = {
            let table = self.table.borrow();
            let Some(entry) = table.entries.get(&client.ip()) else {
                return;
            };
            // The answer was handed over all the same.
            let verdict = match outcome == QuestionOutcome::NotGranted && entry.observes() {
                true => RecordVerdict::WouldDeny,
                false => decided,
            };
            let terms = entry.terms.as_ref();
            let is_recorded = match terms.map_or(TermsAudit::None, |terms| terms.audit) {
                TermsAudit::None => false,
                TermsAudit::Denied => verdict != RecordVerdict::Allowed,
                TermsAudit::All => true,
            };
            if !is_recorded || is_clusters(question, &table) {
                return;
            }
            verdict
        };
        self.node.record(NameDecision {
            client: client.ip(),
            name: question.canonical_name(),
            verdict,
            reason: outcome.name(),
        });
    }

    /// An answer from outside as the pod may have it. Where names are filtered it is withheld until the kernel lets connections
    /// to its addresses through. Judged by the table of this moment: a policy may have changed while the resolver was asked.
    async fn bring(
        &self,
        client: SocketAddr,
        question: &DnsQuestion,
        message: &[u8],
        (answer, brought): (Vec<u8>, QuestionOutcome),
    ) -> Option<(Vec<u8>, QuestionOutcome)> {
        let judged =
            self.with_entry(client, |entry, plan| judge(entry, plan, question, &answer))?;
        let ended = |(code, outcome): (Code, QuestionOutcome)| {
            Some((question.answer(message, code), outcome))
        };
        match judged {
            JudgedAnswer::Free => Some((answer, brought)),
            JudgedAnswer::Refused(code, outcome) => ended((code, outcome)),
            JudgedAnswer::Granting { answer, grants, .. } if grants.is_empty() => {
                Some((answer, brought))
            }
            JudgedAnswer::Granting {
                answer,
                grants,
                enforcement,
            } => {
                let granted = self.node.grant(&question.canonical_name(), grants).await;
                match (granted, enforcement) {
                    (Ok(()), _) => Some((answer, brought)),
                    (Err(error), TermsEnforcement::Enforce) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "an answer is withheld"
                        );
                        ended((Code::Failed, QuestionOutcome::NotGranted))
                    }
                    (Err(_), TermsEnforcement::Observe) => {
                        Some((answer, QuestionOutcome::NotGranted))
                    }
                }
            }
        }
    }

    fn refuse_unreadable(&self, unreadable: MessageError, message: &[u8]) -> Option<Vec<u8>> {
        match unreadable {
            MessageError::NoQuery => {
                self.counters.count(QuestionOutcome::Malformed);
                None
            }
            MessageError::Answered(code) => {
                self.counters.count(match code {
                    Code::NotImplemented => QuestionOutcome::NotForwarded,
                    _ => QuestionOutcome::Malformed,
                });
                Some(bare_answer(message, code))
            }
        }
    }

    /// What has to be found out before it can be decided; none for an unknown client.
    fn need(&self, client: SocketAddr, question: &DnsQuestion) -> Option<NodeNeed> {
        self.with_entry(client, |entry, plan| need(question, entry, plan))
    }

    /// Decides by the table of this moment, which may be another one than a moment ago.
    pub(super) fn decide(
        &self,
        client: SocketAddr,
        question: &DnsQuestion,
        asked: Option<AskedResolver>,
    ) -> Option<DnsDecision> {
        let lease = self.node.lease();
        self.with_entry(client, |entry, plan| {
            decide(question, entry, plan, lease, asked, &self.own)
        })
    }

    fn with_entry<T>(
        &self,
        client: SocketAddr,
        act: impl FnOnce(&DnsEntry, &DnsPlan) -> T,
    ) -> Option<T> {
        let table = self.table.borrow();
        let found = table
            .entries
            .get(&client.ip())
            .map(|entry| act(entry, &table));
        if found.is_none() {
            self.counters.count(QuestionOutcome::UnknownClient);
        }
        found
    }
}

/// What becomes of an answer from outside.
enum JudgedAnswer {
    /// Names are not filtered.
    Free,
    Refused(Code, QuestionOutcome),
    Granting {
        answer: Vec<u8>,
        grants: Vec<Grant>,
        enforcement: TermsEnforcement,
    },
}

fn judge(entry: &DnsEntry, plan: &DnsPlan, question: &DnsQuestion, answer: &[u8]) -> JudgedAnswer {
    let observes = entry.observes();
    match entry.mode {
        TermsDnsMode::Forward => return JudgedAnswer::Free,
        TermsDnsMode::Block if observes => return JudgedAnswer::Free,
        TermsDnsMode::Block => {
            return JudgedAnswer::Refused(Code::Refused, QuestionOutcome::Blocked);
        }
        TermsDnsMode::Filter => {}
    }
    let rules = entry.names.allowing(&question.canonical_name());
    // An answer for a name that no rule allows grants nothing, so that the counters of the rules see what it leads to.
    if rules.is_empty() && !observes {
        return JudgedAnswer::Refused(refusal(entry), QuestionOutcome::NameRefused);
    }
    match filter(question, answer, |address| plan.may_bring(entry, address)) {
        FilteredAnswer::Brought { answer, addresses } => JudgedAnswer::Granting {
            answer,
            grants: grants_of(&rules, &addresses),
            enforcement: match observes {
                true => TermsEnforcement::Observe,
                false => TermsEnforcement::Enforce,
            },
        },
        FilteredAnswer::Refused => {
            JudgedAnswer::Refused(refusal(entry), QuestionOutcome::AddressRefused)
        }
        FilteredAnswer::Unreadable => {
            JudgedAnswer::Refused(Code::Failed, QuestionOutcome::UnreadableAnswer)
        }
    }
}

/// Each address for each rule that allows the name, for as long as the answer is valid.
fn grants_of(rules: &[&NamedRule], addresses: &BTreeMap<IpAddr, u32>) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (address, lasts) in addresses {
        let family = Family::of(address);
        let sets = rules.iter().filter_map(|rule| rule.sets.get(&family));
        grants.extend(sets.map(|set| Grant {
            set: set.clone(),
            address: *address,
            seconds: grant_time(*lasts),
        }));
    }
    grants
}

async fn carry_out(
    asker: Asker,
    circuits: &ResolverCircuits,
    decision: &DnsDecision,
    question: &DnsQuestion,
    message: &[u8],
) -> (Vec<u8>, QuestionOutcome) {
    let (asked, outcome) = match decision {
        DnsDecision::Here { code, outcome } => return (question.answer(message, *code), *outcome),
        DnsDecision::Cluster(resolvers) => {
            let asked = AskedResolvers {
                way: ResolverPath::Plain,
                resolvers,
                circuit: None,
            };
            (asked, QuestionOutcome::Cluster)
        }
        DnsDecision::Exit {
            exit: way,
            resolvers,
            outcome,
            circuits: scope,
        } => {
            let asked = AskedResolvers {
                way: ResolverPath::Exit(way),
                resolvers,
                circuit: scope.as_ref().map(|scope| AskedCircuit {
                    circuits,
                    scope,
                    way,
                }),
            };
            (asked, *outcome)
        }
    };
    let failed = |outcome| (question.answer(message, Code::Failed), outcome);
    match ask(asker.protocol, asked, question, message).await {
        Ok(answer) => (answer, outcome),
        Err(UnansweredQuestion::Missed) => failed(QuestionOutcome::NoAnswer),
        Err(UnansweredQuestion::NotAsked) => failed(QuestionOutcome::NotAsked),
    }
}
