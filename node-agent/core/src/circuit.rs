//! Whether a resolver is asked at all. Each question waits for a resolver that is dead. After some questions without an answer it
//! gets one question at a time, at growing intervals, and the others do not wait for it.
//!
//! The caller gives the time and random numbers.

use std::time::{Duration, Instant};

/// A circuit opens after so many questions in a row without an answer.
const MISSES: u32 = 3;
/// It opens no sooner than this after the first of these questions was sent: the second attempt of a question ends within it.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a circuit is open the first time; twice as long each time that its question is missed.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest time between two questions to a resolver that does not answer.
pub const LONGEST_OPEN: Duration = Duration::from_secs(8);

/// The circuit of one resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CircuitBreaker {
    state: CircuitState,
    /// When the last answer came.
    answered: Option<Instant>,
}

/// What becomes of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CircuitState {
    /// All are asked.
    #[default]
    Closed,
    /// All are asked, and some were missed since the last answer.
    Doubted { missed: u32, since: Instant },
    /// None is asked until then.
    Open { until: Instant, lasts: Duration },
    /// One is under way since then, and the others are not asked.
    HalfOpen { since: Instant, lasts: Duration },
}

/// Is a question sent to the resolver?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitPass {
    Ask,
    /// It is the one by which an open circuit finds whether the resolver is back.
    Trial,
    Skip,
}

impl CircuitBreaker {
    /// Asks for one question that is given up after `patience`. A trial whose end is not reported is followed by another one.
    pub fn pass(&mut self, now: Instant, patience: Duration) -> CircuitPass {
        let lasts = match self.state {
            CircuitState::Closed | CircuitState::Doubted { .. } => return CircuitPass::Ask,
            CircuitState::Open { until, lasts } if until <= now => lasts,
            CircuitState::HalfOpen { since, lasts } if since + patience * 2 <= now => lasts,
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. } => return CircuitPass::Skip,
        };
        self.state = CircuitState::HalfOpen { since: now, lasts };
        CircuitPass::Trial
    }

    /// The resolver answered a question, of whatever time.
    pub const fn answered(&mut self, now: Instant) {
        *self = Self {
            state: CircuitState::Closed,
            answered: Some(now),
        };
    }

    /// A question that was sent then got no answer. It counts for nothing where another one was answered meanwhile: the
    /// resolver lives, and may itself wait for the owner of a name. `random` shortens the time that the circuit is open by up
    /// to a quarter, so that nodes which lost a resolver together do not ask it together.
    pub fn missed(&mut self, sent: Instant, now: Instant, random: u8) {
        if self.answered.is_some_and(|answered| answered >= sent) {
            return;
        }
        self.state = match self.state {
            CircuitState::Closed => CircuitState::Doubted {
                missed: 1,
                since: sent,
            },
            CircuitState::Doubted { missed, since } => {
                let (missed, since) = (missed.saturating_add(1), since.min(sent));
                match missed >= MISSES && now.saturating_duration_since(since) >= SILENCE {
                    true => open(SHORTEST, now, random),
                    false => CircuitState::Doubted { missed, since },
                }
            }
            CircuitState::HalfOpen { since, lasts } if sent >= since => {
                open((lasts * 2).min(LONGEST_OPEN), now, random)
            }
            // A question from before the circuit opened.
            as_before @ (CircuitState::Open { .. } | CircuitState::HalfOpen { .. }) => as_before,
        };
    }

    #[must_use]
    pub const fn state(&self) -> CircuitState {
        self.state
    }

    /// Are questions kept from the resolver?
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(
            self.state,
            CircuitState::Open { .. } | CircuitState::HalfOpen { .. }
        )
    }
}

fn open(lasts: Duration, now: Instant, random: u8) -> CircuitState {
    let shorter = lasts / 4 * u32::from(random) / u32::from(u8::MAX);
    CircuitState::Open {
        until: now + (lasts - shorter),
        lasts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "a test needs some moment to count from; the machine only compares moments"
    )]
    fn begin() -> Instant {
        Instant::now()
    }

    const PATIENCE: Duration = Duration::from_secs(2);

    fn seconds(base: Instant, seconds: f64) -> Instant {
        base + Duration::from_secs_f64(seconds)
    }

    /// A breaker that opened at 4 s, for a second.
    fn opened(base: Instant) -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        for sent in [0.0, 1.0, 2.0] {
            let sent = seconds(base, sent);
            assert_eq!(breaker.pass(sent, PATIENCE), CircuitPass::Ask);
            breaker.missed(sent, sent + PATIENCE, 0);
        }
        breaker
    }

    #[test]
    fn three_questions_without_an_answer_over_three_seconds_open_it_and_fewer_do_not() {
        let base = begin();
        let mut burst = CircuitBreaker::default();
        for _ in 0..50 {
            burst.missed(base, seconds(base, 2.0), 0);
        }
        assert!(!burst.is_open(), "one burst that is lost opens nothing");
        burst.missed(seconds(base, 2.0), seconds(base, 4.0), 0);
        assert!(burst.is_open());
        let mut two = CircuitBreaker::default();
        two.missed(base, seconds(base, 2.0), 0);
        two.missed(seconds(base, 60.0), seconds(base, 62.0), 0);
        assert!(!two.is_open());
        assert!(opened(base).is_open());
    }

    #[test]
    fn what_is_missed_while_the_resolver_answers_others_counts_for_nothing() {
        let base = begin();
        let mut breaker = CircuitBreaker::default();
        for at in 0..20 {
            let sent = seconds(base, f64::from(at));
            breaker.answered(seconds(base, f64::from(at) + 1.0));
            breaker.missed(sent, sent + PATIENCE, 0);
        }
        assert_eq!(breaker.state(), CircuitState::Closed);
    }

    #[test]
    fn while_it_is_half_open_one_question_is_under_way_and_its_end_decides() {
        let base = begin();
        let mut breaker = opened(base);
        let at = |second| seconds(base, second);
        assert_eq!(breaker.pass(at(4.9), PATIENCE), CircuitPass::Skip);
        assert_eq!(breaker.pass(at(5.0), PATIENCE), CircuitPass::Trial);
        for _ in 0..100 {
            assert_eq!(breaker.pass(at(5.0), PATIENCE), CircuitPass::Skip);
        }
        // A question from before it opened ends now.
        breaker.missed(at(3.5), at(5.5), 0);
        assert_eq!(breaker.pass(at(5.6), PATIENCE), CircuitPass::Skip);
        breaker.missed(at(5.0), at(7.0), 0);
        assert_eq!(breaker.pass(at(8.9), PATIENCE), CircuitPass::Skip);
        assert_eq!(breaker.pass(at(9.0), PATIENCE), CircuitPass::Trial);
        breaker.answered(at(9.1));
        assert_eq!(breaker.state(), CircuitState::Closed);
        assert_eq!(breaker.pass(at(9.1), PATIENCE), CircuitPass::Ask);
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another_one() {
        let base = begin();
        let mut breaker = opened(base);
        let at = |second| seconds(base, second);
        assert_eq!(breaker.pass(at(6.0), PATIENCE), CircuitPass::Trial);
        assert_eq!(breaker.pass(at(9.9), PATIENCE), CircuitPass::Skip);
        assert_eq!(breaker.pass(at(10.0), PATIENCE), CircuitPass::Trial);
    }

    #[test]
    fn it_is_open_twice_as_long_each_time_up_to_a_bound_and_random_numbers_shorten_that_by_a_quarter_at_most()
     {
        let base = begin();
        for random in [0, 77, u8::MAX] {
            let mut breaker = opened(base);
            let mut now = seconds(base, 5.0);
            for wanted in [2, 4, 8, 8, 8] {
                assert_eq!(breaker.pass(now, PATIENCE), CircuitPass::Trial);
                let missed = now + PATIENCE;
                breaker.missed(now, missed, random);
                let CircuitState::Open { until, .. } = breaker.state() else {
                    panic!("{breaker:?}");
                };
                let wanted = Duration::from_secs(wanted);
                let open = until - missed;
                assert!(open <= wanted && open >= wanted * 3 / 4, "{open:?}");
                assert_eq!(open == wanted, random == 0, "{open:?}");
                now = until;
            }
        }
    }

    #[test]
    fn a_late_answer_closes_it_at_once() {
        let base = begin();
        let mut breaker = opened(base);
        breaker.answered(seconds(base, 4.1));
        assert_eq!(breaker.pass(seconds(base, 4.1), PATIENCE), CircuitPass::Ask);
    }
}
