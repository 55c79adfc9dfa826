use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuestionOutcome {
    /// The cluster's resolver answered.
    Cluster,
    /// A resolver answered through the exit.
    Exit,
    /// The scope asks for no names outside the cluster: `REFUSED`.
    Blocked,
    /// No rule of the scope allows the name: `NXDOMAIN` or `REFUSED`, as the policy says.
    NameRefused,
    /// An allowed name led to addresses that no answer may bring, and to no other one: answered as a name that is refused.
    AddressRefused,
    /// The kernel could not be made to let connections to the addresses of an answer through: `SERVFAIL`.
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
    /// The message is none, or holds another number of questions than one.
    Malformed,
    /// The client is no pod that the forwarder serves: no answer.
    UnknownClient,
    /// Too many questions at a time: no answer.
    Limited,
}

impl QuestionOutcome {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 15] = [
        Self::Cluster,
        Self::Exit,
        Self::Blocked,
        Self::NameRefused,
        Self::AddressRefused,
        Self::NotGranted,
        Self::UnreadableAnswer,
        Self::NoResolver,
        Self::NotForwarded,
        Self::NoExit,
        Self::NoLease,
        Self::NoAnswer,
        Self::Malformed,
        Self::UnknownClient,
        Self::Limited,
    ];

    /// The label of its counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Exit => "exit",
            Self::Blocked => "blocked",
            Self::NameRefused => "name-refused",
            Self::AddressRefused => "address-refused",
            Self::NotGranted => "not-granted",
            Self::UnreadableAnswer => "unreadable-answer",
            Self::NoResolver => "no-resolver",
            Self::NotForwarded => "not-forwarded",
            Self::NoExit => "no-exit",
            Self::NoLease => "no-lease",
            Self::NoAnswer => "no-answer",
            Self::Malformed => "malformed",
            Self::UnknownClient => "unknown-client",
            Self::Limited => "limited",
        }
    }
}

/// Questions since the forwarder was made, by outcome.
#[derive(Debug, Default)]
pub struct DnsCounters([AtomicU64; QuestionOutcome::ALL.len()]);

impl DnsCounters {
    pub(super) fn count(&self, outcome: QuestionOutcome) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many questions ended so.
    #[must_use]
    pub fn get(&self, outcome: QuestionOutcome) -> u64 {
        self.0
            .get(outcome as usize)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
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
            counters.count(outcome);
        }
        assert!(counters.snapshot().values().all(|count| *count == 1));
    }
}
