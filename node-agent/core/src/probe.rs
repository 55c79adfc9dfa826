//! What probes found: whether gateways answer in the tunnel, and resolvers behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_intent::body::ExitProbe;
use postern_intent::{ExitName, NodeName};
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

/// Answers of one thing that is asked at a steady pace: a gateway in one family, or what is behind it. It is silent when no
/// answer has come for a while, and not by single answers that are missed: on a slow way several are under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTrack {
    /// When the last answer came, or when the first one was given up.
    since: Instant,
    /// Since when each answer came in time; none: no answer came yet.
    answers: Option<Instant>,
    /// How long the last answer took.
    took: Duration,
    /// The part of `since` that is excuses and no answer.
    excused: Duration,
}

/// Two silences that count: one to go on to another gateway, and a longer one to call the exit lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SilenceLimit {
    interval: Duration,
    limit: Duration,
}

impl SilenceLimit {
    /// The shortest limit: timers of a busy node are late by some 10 ms.
    const SHORTEST: Duration = Duration::from_millis(100);

    /// Intervals without an answer, and half of one more, because answers do not come at a steady pace.
    #[must_use]
    pub fn of(probe: &ExitProbe) -> Self {
        let interval = Duration::from_millis(probe.interval_milliseconds.into());
        let limit = interval.saturating_mul(probe.failure_threshold) + interval / 2;
        Self {
            interval,
            limit: limit.max(Self::SHORTEST),
        }
    }
}

impl AnswerTrack {
    /// The shortest silence after which the status reports the exit as lost. A shorter one would change the status at each switch.
    const SHORTEST: Duration = Duration::from_secs(1);
    /// The silence that counts before the first answer, after the first echo was given up: a gateway may not know its new client yet.
    const FIRST: Duration = Duration::from_millis(1500);
    /// The longest excuse between two answers.
    const LONGEST_EXCUSE: Duration = Duration::from_secs(1);

    /// The first question was given up or answered.
    #[must_use]
    pub const fn begun(now: Instant) -> Self {
        Self {
            since: now,
            answers: None,
            took: Duration::ZERO,
            excused: Duration::ZERO,
        }
    }

    /// An answer came that took this long.
    pub fn answered(&mut self, now: Instant, took: Duration, limit: SilenceLimit) {
        let in_time = self.reach(now, limit);
        if !matches!(in_time, GatewayReach::Answers { .. }) {
            self.answers = Some(now);
        }
        self.since = now;
        self.took = took;
        self.excused = Duration::ZERO;
    }

    /// The node was too busy to ask or to listen for so long: that was no silence of the gateway.
    ///
    /// Between two answers only so much is excused: a node whose timers are always late would never find a gateway lost.
    pub fn excuse(&mut self, by: Duration) {
        let by = by.min(Self::LONGEST_EXCUSE.saturating_sub(self.excused));
        self.excused += by;
        self.since += by;
    }

    /// The answer that statuses report.
    #[must_use]
    pub fn answer(&self, now: Instant, limit: SilenceLimit) -> ProbeAnswer {
        let silence = now.saturating_duration_since(self.since);
        match self.answers {
            Some(_) if silence <= Self::SHORTEST.max(self.longest(limit)) => ProbeAnswer::Answers,
            None if silence <= Self::FIRST => ProbeAnswer::Untested,
            None => ProbeAnswer::Unanswered,
            Some(_) => ProbeAnswer::Silent,
        }
    }

    /// What the choice of a gateway goes by.
    #[must_use]
    pub fn reach(&self, now: Instant, limit: SilenceLimit) -> GatewayReach {
        let silence = now.saturating_duration_since(self.since);
        match self.answers {
            Some(since) if self.is_fresh(now, limit) => GatewayReach::Answers { since },
            Some(_) if silence < self.longest(limit) => GatewayReach::Late,
            None if silence < Self::FIRST => GatewayReach::Untested,
            None | Some(_) => GatewayReach::Silent,
        }
    }

    /// When an answer or a status changes next if nothing comes.
    #[must_use]
    pub fn deadline(&self, now: Instant, limit: SilenceLimit) -> Option<Instant> {
        let longest = self.longest(limit);
        let ends = match self.answers {
            Some(_) => [self.fresh(limit), longest, Self::SHORTEST.max(longest)],
            None => [Self::FIRST; 3],
        };
        let ends = ends.map(|silence| self.since + silence);
        ends.into_iter().filter(|end| *end >= now).min()
    }

    /// Did it answer the last question, or the one before? Only such a gateway is better than one that is silent: when this
    /// node itself is cut off, the last answers of all gateways are old, and of almost the same time.
    fn is_fresh(&self, now: Instant, limit: SilenceLimit) -> bool {
        now.saturating_duration_since(self.since) < self.fresh(limit)
    }

    fn fresh(&self, limit: SilenceLimit) -> Duration {
        (limit.interval * 3 / 2).min(limit.limit / 2) + self.took
    }

    /// Did an answer come so much later than the last one of another gateway that the other one should have answered too?
    #[must_use]
    pub fn outlives(&self, other: &Self, limit: SilenceLimit) -> bool {
        let answered = |track: &Self| track.since.checked_sub(track.excused);
        let (Some(own), Some(other)) = (answered(self), answered(other)) else {
            return false;
        };
        self.answers.is_some() && own >= other + limit.interval * 3 / 2
    }

    fn longest(&self, limit: SilenceLimit) -> Duration {
        limit.limit.max(self.took * 3)
    }
}

/// How well a gateway answers, for the choice among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GatewayReach {
    /// It was not asked long enough.
    #[default]
    Untested,
    /// It answers in time.
    Answers { since: Instant },
    /// It answered, and not the last question: it is neither left for that nor chosen.
    Late,
    /// It answers, and nothing behind it does.
    DeadEnd,
    /// It does not answer.
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
    /// Gateways, asked by the tunnel.
    pub gateways: BTreeMap<(ExitName, NodeName), GatewayAnswer>,
    /// A resolver, asked through an exit: by a client through the tunnel, by the gateway directly.
    pub resolvers: BTreeMap<(ExitName, SocketAddr), ProbeAnswer>,
    /// Resolvers that the node asks where a policy names none.
    pub own_resolvers: Vec<SocketAddr>,
}

/// The probes' results for one gateway of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayAnswer {
    pub families: BTreeMap<Family, ProbeAnswer>,
    pub reach: GatewayReach,
}

impl ProbeResults {
    /// Do all statuses follow from these results as from other ones? Whether a gateway answered the very last question is for
    /// the choice among gateways alone.
    #[must_use]
    pub fn has_status_of(&self, other: &Self) -> bool {
        let status = |one: &GatewayAnswer| {
            let reach = match one.reach {
                GatewayReach::Late | GatewayReach::Answers { .. } => GatewayReach::Late,
                other => other,
            };
            (one.families.clone(), reach)
        };
        let all = |results: &Self| -> Vec<_> {
            let gateways = results.gateways.iter();
            gateways
                .map(|(key, one)| (key.clone(), status(one)))
                .collect()
        };
        self.resolvers == other.resolvers
            && self.own_resolvers == other.own_resolvers
            && all(self) == all(other)
    }

    /// Does the gateway answer in this family?
    #[must_use]
    pub fn tunnel(&self, exit: &ExitName, gateway: &NodeName, family: Family) -> ProbeAnswer {
        let found = self.gateways.get(&(exit.clone(), gateway.clone()));
        let found = found.and_then(|one| one.families.get(&family));
        found.copied().unwrap_or_default()
    }

    /// The best answer of a gateway over all families in which it is asked.
    #[must_use]
    pub fn gateway(&self, exit: &ExitName, gateway: &NodeName) -> ProbeAnswer {
        let found = self.gateways.get(&(exit.clone(), gateway.clone()));
        best(
            found
                .into_iter()
                .flat_map(|one| one.families.values().copied()),
        )
    }

    /// How a gateway can be reached.
    #[must_use]
    pub fn reach(&self, exit: &ExitName, gateway: &NodeName) -> GatewayReach {
        let found = self.gateways.get(&(exit.clone(), gateway.clone()));
        found.map(|one| one.reach).unwrap_or_default()
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

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some moment to count from; the track only compares moments"
    )]
    fn begin() -> Instant {
        Instant::now()
    }

    fn limit() -> SilenceLimit {
        SilenceLimit::of(&ExitProbe {
            interval_milliseconds: 100,
            failure_threshold: 3,
            targets: Vec::new(),
        })
    }

    #[test]
    fn a_gateway_is_silent_when_nothing_came_for_a_while_and_a_slow_way_is_no_silence() {
        let begin = begin();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let limit = limit();
        let mut track = AnswerTrack::begun(begin);
        assert_eq!(track.answer(at(1500), limit), ProbeAnswer::Untested);
        assert_eq!(track.answer(at(1501), limit), ProbeAnswer::Unanswered);
        track.answered(at(2000), Duration::from_millis(20), limit);
        assert_eq!(track.answer(at(3000), limit), ProbeAnswer::Answers);
        assert_eq!(track.answer(at(3001), limit), ProbeAnswer::Silent);
        track.excuse(Duration::from_millis(500));
        assert_eq!(track.answer(at(3500), limit), ProbeAnswer::Answers);
        // Answers that take 600 ms come four times a second all the same.
        for milliseconds in (4000..6000).step_by(250) {
            track.answered(at(milliseconds), Duration::from_millis(600), limit);
            assert_eq!(
                track.answer(at(milliseconds + 1800), limit),
                ProbeAnswer::Answers
            );
        }
        assert_eq!(track.answer(at(5750 + 1801), limit), ProbeAnswer::Silent);
    }

    #[test]
    fn a_gateway_is_left_long_before_its_exit_is_called_lost() {
        let begin = begin();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let limit = limit();
        let mut track = AnswerTrack::begun(begin);
        assert_eq!(track.reach(at(1499), limit), GatewayReach::Untested);
        for milliseconds in [2000, 2100, 2200] {
            track.answered(at(milliseconds), Duration::from_millis(1), limit);
        }
        let answers = GatewayReach::Answers { since: at(2000) };
        assert_eq!(track.reach(at(2350), limit), answers);
        assert_eq!(track.deadline(at(2350), limit), Some(at(2351)));
        assert_eq!(track.reach(at(2351), limit), GatewayReach::Late);
        assert_eq!(track.reach(at(2549), limit), GatewayReach::Late);
        assert_eq!(track.deadline(at(2549), limit), Some(at(2550)));
        assert_eq!(track.reach(at(2550), limit), GatewayReach::Silent);
        assert_eq!(track.answer(at(2550), limit), ProbeAnswer::Answers);
        assert_eq!(track.deadline(at(2551), limit), Some(at(3200)));
        track.answered(at(4000), Duration::from_millis(1), limit);
        let answers = GatewayReach::Answers { since: at(4000) };
        assert_eq!(
            track.reach(at(4000), limit),
            answers,
            "the time begins anew"
        );
    }

    #[test]
    fn gateways_that_fall_silent_together_are_not_better_than_one_another() {
        let begin = begin();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let of = |last: &[u64]| {
            let mut track = AnswerTrack::begun(begin);
            for milliseconds in last {
                track.answered(at(*milliseconds), Duration::ZERO, limit());
            }
            track
        };
        let (left, other, cold) = (of(&[1000]), of(&[1099]), of(&[1149]));
        let now = at(1350);
        assert_eq!(left.reach(now, limit()), GatewayReach::Silent);
        assert_eq!(other.reach(now, limit()), GatewayReach::Late);
        assert!(!cold.outlives(&left, limit()));
        assert!(of(&[1150]).outlives(&left, limit()));
        let mut excused = of(&[1099]);
        excused.excuse(Duration::from_secs(1));
        assert!(!excused.outlives(&left, limit()), "an excuse is no answer");
        let lost = at(1100 + 1000 + 350);
        assert_eq!(excused.reach(lost, limit()), GatewayReach::Silent);
        excused.excuse(Duration::from_secs(60));
        assert_eq!(
            excused.reach(lost, limit()),
            GatewayReach::Silent,
            "not for ever"
        );
        assert!(
            !AnswerTrack::begun(now).outlives(&left, limit()),
            "it never answered"
        );
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
        let gateway: NodeName = "gw".parse().unwrap();
        let mut results = ProbeResults::default();
        assert_eq!(results.gateway(&exit, &gateway), ProbeAnswer::Untested);
        let mut set = |family, answer| {
            let key = (exit.clone(), gateway.clone());
            let found = results.gateways.entry(key).or_default();
            found.families.insert(family, answer);
            results.gateway(&exit, &gateway)
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
