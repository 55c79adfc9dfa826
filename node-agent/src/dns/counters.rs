use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicI64;

use postern_agent_core::records::RecordVerdict;
use postern_intent::ExitName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::metrics::series::GaugeSeries;

/// The end of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuestionOutcome {
    /// The cluster's resolver answered.
    Cluster,
    /// A resolver answered through the exit.
    Exit,
    /// A resolver answered through the exit, and the policy, which only observes, would have refused the question.
    WouldRefuse,
    /// The scope asks for no names outside the cluster: `REFUSED`.
    Blocked,
    /// No rule of the scope allows the name: `NXDOMAIN` or `REFUSED`, by `dns.refusal` of the policy.
    NameRefused,
    /// The name of a resolver over HTTPS, or the one by which browsers ask whether they may use theirs: refused.
    ResolverName,
    /// An allowed name led to addresses that no answer may bring, and to no other one: answered as a name that is refused.
    AddressRefused,
    /// The kernel could not be made to let connections to the addresses of an answer through: `SERVFAIL`, unless the policy only observes.
    NotGranted,
    /// What a resolver answered for an allowed name cannot be read: `SERVFAIL`.
    UnreadableAnswer,
    /// No resolver is known for it: `REFUSED`.
    NoResolver,
    /// A kind of question that is not forwarded (zone transfer, update, notify): refused.
    NotForwarded,
    /// The scope has no working exit: `SERVFAIL`.
    NoExit,
    /// The node's lease ran out: `SERVFAIL`.
    NoLease,
    /// The resolvers gave no answer in time: `SERVFAIL`.
    NoAnswer,
    /// Every resolver for it was silent before, and is left alone for a while: `SERVFAIL` at once.
    NotAsked,
    /// The message is none, or holds another number of questions than one.
    Malformed,
    /// The client is no pod that the forwarder serves: no answer.
    UnknownClient,
    /// Too many questions at a time: no answer.
    Limited,
}

impl QuestionOutcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 18] = [
        Self::Cluster,
        Self::Exit,
        Self::WouldRefuse,
        Self::Blocked,
        Self::NameRefused,
        Self::ResolverName,
        Self::AddressRefused,
        Self::NotGranted,
        Self::UnreadableAnswer,
        Self::NoResolver,
        Self::NotForwarded,
        Self::NoExit,
        Self::NoLease,
        Self::NoAnswer,
        Self::NotAsked,
        Self::Malformed,
        Self::UnknownClient,
        Self::Limited,
    ];

    /// What was decided about a name outside the cluster; none: nothing, or not by a policy.
    #[must_use]
    pub const fn verdict(self) -> Option<RecordVerdict> {
        match self {
            Self::Exit => Some(RecordVerdict::Allowed),
            Self::WouldRefuse => Some(RecordVerdict::WouldDeny),
            Self::Blocked
            | Self::NameRefused
            | Self::ResolverName
            | Self::AddressRefused
            | Self::NotGranted
            | Self::UnreadableAnswer
            | Self::NoResolver
            | Self::NotForwarded
            | Self::NoExit
            | Self::NoLease => Some(RecordVerdict::Denied),
            Self::Cluster
            | Self::NoAnswer
            | Self::NotAsked
            | Self::Malformed
            | Self::UnknownClient
            | Self::Limited => None,
        }
    }

    /// The label of its counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Exit => "exit",
            Self::WouldRefuse => "would-refuse",
            Self::Blocked => "blocked",
            Self::NameRefused => "name-refused",
            Self::ResolverName => "resolver-name",
            Self::AddressRefused => "address-refused",
            Self::NotGranted => "not-granted",
            Self::UnreadableAnswer => "unreadable-answer",
            Self::NoResolver => "no-resolver",
            Self::NotForwarded => "not-forwarded",
            Self::NoExit => "no-exit",
            Self::NoLease => "no-lease",
            Self::NoAnswer => "no-answer",
            Self::NotAsked => "not-asked",
            Self::Malformed => "malformed",
            Self::UnknownClient => "unknown-client",
            Self::Limited => "limited",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    reason: &'static str,
}

/// A resolver as it is asked through an exit; no exit: by the uplink of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ResolverLabels {
    exit: String,
    upstream: String,
}

/// Questions since the forwarder was made, by outcome, and the state of resolvers. A copy counts with the same numbers.
#[derive(Debug, Clone)]
pub struct DnsCounters {
    questions: Family<OutcomeLabel, Counter>,
    resolvers: GaugeSeries<ResolverLabels, i64, AtomicI64>,
}

impl Default for DnsCounters {
    /// Every outcome is served from the start on, with 0.
    fn default() -> Self {
        let counters = Self {
            questions: Family::default(),
            resolvers: GaugeSeries::default(),
        };
        for outcome in QuestionOutcome::ALL {
            drop(counters.of(outcome));
        }
        counters
    }
}

impl DnsCounters {
    fn of(&self, outcome: QuestionOutcome) -> Counter {
        let reason = outcome.name();
        self.questions.get_or_create_owned(&OutcomeLabel { reason })
    }

    /// Serves them as a metric.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Questions of pods for names, by how they ended";
        registry.register("dns_questions", help, self.questions.clone());
        let help = "State of each resolver that policies or settings name: 0 asked, 1 on trial, 2 left alone";
        registry.register("dns_upstream_state", help, self.resolvers.family());
    }

    /// The state of each resolver; those that are not named are forgotten.
    pub(crate) fn resolvers(&self, states: &BTreeMap<(Option<ExitName>, SocketAddr), i64>) {
        let states = states.iter().map(|((exit, resolver), state)| {
            let labels = ResolverLabels {
                exit: exit.as_ref().map(ToString::to_string).unwrap_or_default(),
                upstream: resolver.to_string(),
            };
            (labels, *state)
        });
        self.resolvers.show(states.collect());
    }

    pub(super) fn count(&self, outcome: QuestionOutcome) {
        self.of(outcome).inc();
    }

    /// How many questions ended so.
    #[must_use]
    pub fn get(&self, outcome: QuestionOutcome) -> u64 {
        self.of(outcome).get()
    }

    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<QuestionOutcome, u64> {
        QuestionOutcome::ALL
            .into_iter()
            .map(|outcome| (outcome, self.get(outcome)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        let counters = DnsCounters::default();
        for (at, outcome) in QuestionOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
            assert_eq!(counters.get(outcome), 0);
            counters.count(outcome);
        }
        assert!(counters.snapshot().values().all(|count| *count == 1));
    }
}
