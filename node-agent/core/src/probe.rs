//! What probes found: whether gateways answer in the tunnel, and resolvers behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_intent::ExitName;
use postern_plan::host::Family;

/// What is known of one thing that is asked again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProbeAnswer {
    /// It was not asked often enough yet.
    #[default]
    Untested,
    /// It answered, and has not missed too many questions since.
    Answers,
    /// It missed too many questions one after the other.
    Silent,
}

/// How many questions in a row were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeCount {
    missed: u32,
    /// What follows from it.
    pub answer: ProbeAnswer,
}

impl ProbeCount {
    /// One more question that was answered.
    pub const fn answered(&mut self) {
        *self = Self {
            missed: 0,
            answer: ProbeAnswer::Answers,
        };
    }

    /// One more question that was not: `limit` of them in a row are silence.
    pub const fn missed(&mut self, limit: u32) {
        self.missed = self.missed.saturating_add(1);
        if self.missed >= limit {
            self.answer = ProbeAnswer::Silent;
        }
    }
}

/// Everything that probes found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbeResults {
    /// The gateway of an exit, asked by the tunnel.
    pub tunnels: BTreeMap<(ExitName, Family), ProbeAnswer>,
    /// A resolver, asked through an exit: by a client through the tunnel, by the gateway directly.
    pub resolvers: BTreeMap<(ExitName, SocketAddr), ProbeAnswer>,
    /// Resolvers that the node asks where a policy names none.
    pub own_resolvers: Vec<SocketAddr>,
}

impl ProbeResults {
    /// Does the exit's gateway answer?
    #[must_use]
    pub fn tunnel(&self, exit: &ExitName, family: Family) -> ProbeAnswer {
        let found = self.tunnels.get(&(exit.clone(), family));
        found.copied().unwrap_or_default()
    }

    /// Is the gateway silent in every family in which it is asked, and is it asked in any?
    #[must_use]
    pub fn is_lost(&self, exit: &ExitName) -> bool {
        let mut asked = Family::BOTH
            .into_iter()
            .filter_map(|family| self.tunnels.get(&(exit.clone(), family)))
            .peekable();
        asked.peek().is_some() && asked.all(|answer| *answer == ProbeAnswer::Silent)
    }

    /// Does any of the resolvers that were asked through the exit answer? One that does is enough.
    #[must_use]
    pub fn any_resolver(
        &self,
        exit: &ExitName,
        which: impl Fn(&SocketAddr) -> bool,
    ) -> ProbeAnswer {
        let mut asked = self
            .resolvers
            .iter()
            .filter(|((of, resolver), _)| of == exit && which(resolver))
            .map(|(_, answer)| *answer)
            .peekable();
        if asked.peek().is_none() {
            return ProbeAnswer::Untested;
        }
        let all: Vec<ProbeAnswer> = asked.collect();
        if all.contains(&ProbeAnswer::Answers) {
            ProbeAnswer::Answers
        } else if all.contains(&ProbeAnswer::Untested) {
            ProbeAnswer::Untested
        } else {
            ProbeAnswer::Silent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_questions_in_a_row_are_silence_and_one_answer_ends_it() {
        let mut count = ProbeCount::default();
        for wanted in [
            ProbeAnswer::Untested,
            ProbeAnswer::Untested,
            ProbeAnswer::Silent,
        ] {
            count.missed(3);
            assert_eq!(count.answer, wanted);
        }
        count.answered();
        count.missed(3);
        assert_eq!(count.answer, ProbeAnswer::Answers);
    }

    #[test]
    fn an_exit_is_lost_when_every_family_that_is_asked_is_silent_and_not_when_nothing_is_asked() {
        let exit: ExitName = "eu".parse().unwrap();
        let mut results = ProbeResults::default();
        assert!(!results.is_lost(&exit));
        let mut set = |family, answer| {
            results.tunnels.insert((exit.clone(), family), answer);
            results.is_lost(&exit)
        };
        assert!(set(Family::V4, ProbeAnswer::Silent));
        assert!(!set(Family::V6, ProbeAnswer::Untested));
        assert!(!set(Family::V6, ProbeAnswer::Answers));
        assert!(set(Family::V6, ProbeAnswer::Silent));
    }

    #[test]
    fn one_resolver_that_answers_is_enough() {
        let exit: ExitName = "eu".parse().unwrap();
        let mut results = ProbeResults::default();
        let mut set = |resolver: &str, answer| {
            let key = (exit.clone(), resolver.parse().unwrap());
            results.resolvers.insert(key, answer);
            results.any_resolver(&exit, |_| true)
        };
        assert_eq!(
            set("192.0.2.1:53", ProbeAnswer::Silent),
            ProbeAnswer::Silent
        );
        assert_eq!(
            set("192.0.2.2:53", ProbeAnswer::Untested),
            ProbeAnswer::Untested
        );
        assert_eq!(
            set("192.0.2.3:53", ProbeAnswer::Answers),
            ProbeAnswer::Answers
        );
    }
}
