//! What probes found: whether gateways answer in the tunnel, and resolvers behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

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
    /// It was asked for a while and never answered: it may be away, or be something that answers no such question.
    Unanswered,
    /// It answered before, and has not for a while.
    Silent,
}

/// Echoes of one gateway in one family. It is silent when no answer has come for a while, and not by single answers that are
/// missed: on a slow way several are under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoTrack {
    /// When the last answer came, or when the first one was given up.
    since: Instant,
    /// How long the last answer took; none: none came yet.
    took: Option<Duration>,
}

impl EchoTrack {
    /// The shortest silence that counts: four echoes of the pace at which they are sent.
    const SHORTEST: Duration = Duration::from_secs(1);
    /// The silence that counts before the first answer, after the first echo was given up: a gateway may not know its new client yet.
    const FIRST: Duration = Duration::from_millis(1500);

    /// The first echo was given up or answered.
    #[must_use]
    pub const fn begun(now: Instant) -> Self {
        Self {
            since: now,
            took: None,
        }
    }

    /// An answer came that took this long.
    pub const fn answered(&mut self, now: Instant, took: Duration) {
        self.since = now;
        self.took = Some(took);
    }

    /// The node was too busy to ask or to listen for so long: that was no silence of the gateway.
    pub fn excuse(&mut self, by: Duration) {
        self.since += by;
    }

    /// What follows from it now.
    #[must_use]
    pub fn answer(&self, now: Instant) -> ProbeAnswer {
        let silence = now.saturating_duration_since(self.since);
        match self.took {
            Some(took) if silence <= Self::SHORTEST.max(took * 3) => ProbeAnswer::Answers,
            None if silence <= Self::FIRST => ProbeAnswer::Untested,
            None => ProbeAnswer::Unanswered,
            Some(_) => ProbeAnswer::Silent,
        }
    }
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

    /// The best answer of an exit's gateway over all families in which it is asked.
    #[must_use]
    pub fn gateway(&self, exit: &ExitName) -> ProbeAnswer {
        let asked = Family::BOTH
            .into_iter()
            .filter_map(|family| self.tunnels.get(&(exit.clone(), family)));
        best(asked.copied())
    }

    /// Is any of these resolvers asked through the exit?
    #[must_use]
    pub fn asks(&self, exit: &ExitName, which: impl Fn(&SocketAddr) -> bool) -> bool {
        let mut asked = self.resolvers.keys();
        asked.any(|(of, resolver)| of == exit && which(resolver))
    }

    /// Does any of these resolvers that were asked through the exit answer? One that does is enough.
    #[must_use]
    pub fn any_resolver(
        &self,
        exit: &ExitName,
        which: impl Fn(&SocketAddr) -> bool,
    ) -> ProbeAnswer {
        let asked = self
            .resolvers
            .iter()
            .filter(|((of, resolver), _)| of == exit && which(resolver))
            .map(|(_, answer)| *answer);
        best(asked)
    }
}

/// One that answers is enough, and one of which nothing is known yet may.
fn best(answers: impl Iterator<Item = ProbeAnswer>) -> ProbeAnswer {
    let rank = |answer: &ProbeAnswer| match answer {
        ProbeAnswer::Answers => 3,
        ProbeAnswer::Untested => 2,
        ProbeAnswer::Silent => 1,
        ProbeAnswer::Unanswered => 0,
    };
    answers.max_by_key(rank).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_silent_when_nothing_came_for_a_while_and_a_slow_way_is_no_silence() {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test needs some moment to count from; the track only compares moments"
        )]
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let mut track = EchoTrack::begun(begin);
        assert_eq!(track.answer(at(1500)), ProbeAnswer::Untested);
        assert_eq!(track.answer(at(1501)), ProbeAnswer::Unanswered);
        track.answered(at(2000), Duration::from_millis(20));
        assert_eq!(track.answer(at(3000)), ProbeAnswer::Answers);
        assert_eq!(track.answer(at(3001)), ProbeAnswer::Silent);
        track.excuse(Duration::from_millis(500));
        assert_eq!(track.answer(at(3500)), ProbeAnswer::Answers);
        // Answers that take 600 ms come four times a second all the same.
        for milliseconds in (4000..6000).step_by(250) {
            track.answered(at(milliseconds), Duration::from_millis(600));
            assert_eq!(track.answer(at(milliseconds + 1800)), ProbeAnswer::Answers);
        }
        assert_eq!(track.answer(at(5750 + 1801)), ProbeAnswer::Silent);
    }

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
    fn the_best_answer_of_its_families_is_what_is_known_of_a_gateway() {
        let exit: ExitName = "eu".parse().unwrap();
        let mut results = ProbeResults::default();
        assert_eq!(results.gateway(&exit), ProbeAnswer::Untested);
        let mut set = |family, answer| {
            results.tunnels.insert((exit.clone(), family), answer);
            results.gateway(&exit)
        };
        for (family, answer, wanted) in [
            (Family::V4, ProbeAnswer::Unanswered, ProbeAnswer::Unanswered),
            (Family::V6, ProbeAnswer::Silent, ProbeAnswer::Silent),
            (Family::V4, ProbeAnswer::Untested, ProbeAnswer::Untested),
            (Family::V6, ProbeAnswer::Answers, ProbeAnswer::Answers),
        ] {
            assert_eq!(set(family, answer), wanted);
        }
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
