//! Whether the operator is ready, from how its runs end. Pure, but for [`Readiness`], which shows it.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use postern_telemetry::Health;

use crate::error::chain;
use crate::pipeline::{IdleReason, PipelineError, RunOutcome};

/// How long publishing may fail before the operator counts as not ready: longer than any single request, and than a
/// watch takes to begin again.
const TOLERATED: Duration = Duration::from_secs(120);

/// By how much the own clock and the API server's may differ. Agents take an intent from up to this far in the future, and
/// the `Date` of an answer is good to a second.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// How long the pipeline counts as alive after it began or ended a run. A run with a thousand intents on a slow API server
/// takes less.
const ALIVE_FOR: Duration = Duration::from_secs(300);

/// The operator's health at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RunHealth {
    /// Every intent of this run is published.
    Works,
    /// Some are not, for a reason that may pass by itself.
    Fails(String),
    /// Some are not, for a reason that a person has to remove.
    Stopped(String),
}

/// Whether publishing works, over many runs.
#[derive(Debug)]
pub struct PublishHealth {
    failing_since: Option<Instant>,
    problem: Option<String>,
}

impl Default for PublishHealth {
    fn default() -> Self {
        Self {
            failing_since: None,
            problem: Some("the operator starts".to_owned()),
        }
    }
}

impl PublishHealth {
    pub fn observe(&mut self, ran: &Result<RunOutcome, PipelineError>, now: Instant) {
        let health = health_of(ran);
        if health == RunHealth::Works {
            self.failing_since = None;
            self.problem = None;
            return;
        }
        let since = *self.failing_since.get_or_insert(now);
        let lasts = now.saturating_duration_since(since);
        match health {
            RunHealth::Stopped(why) => self.problem = Some(why),
            RunHealth::Fails(why) if lasts >= TOLERATED => {
                let seconds = lasts.as_secs();
                self.problem = Some(format!("publishing fails since {seconds} s: {why}"));
            }
            // What was said before holds.
            RunHealth::Fails(_) | RunHealth::Works => {}
        }
    }

    /// Why the operator is not ready; none: it is.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

fn health_of(ran: &Result<RunOutcome, PipelineError>) -> RunHealth {
    match ran {
        Ok(RunOutcome::Done | RunOutcome::Idle(IdleReason::Standby)) => RunHealth::Works,
        // Statuses, taints and the like are shown in a metric and hold up no intent.
        Ok(RunOutcome::Partly { intents: 0, .. }) => RunHealth::Works,
        Ok(RunOutcome::Partly { intents, .. }) => {
            RunHealth::Fails(format!("the API server does not take {intents} intents"))
        }
        Ok(RunOutcome::Again) => RunHealth::Fails("what is read is old each time".to_owned()),
        Ok(RunOutcome::Idle(IdleReason::Missing(kinds))) => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            RunHealth::Stopped(format!("stores are not complete: {}", names.join(", ")))
        }
        Ok(RunOutcome::Idle(IdleReason::Stamping(_) | IdleReason::TooLow)) => {
            RunHealth::Fails("not every intent carries this leader's epoch yet".to_owned())
        }
        Ok(RunOutcome::Idle(IdleReason::Lagging)) => {
            RunHealth::Fails("the watch does not show the last writes".to_owned())
        }
        Err(
            problem
            @ (PipelineError::Signer(_) | PipelineError::Page(_) | PipelineError::Memory(_)),
        ) if !problem.is_stale() => RunHealth::Stopped(chain(problem)),
        Err(problem) => RunHealth::Fails(chain(problem)),
    }
}

/// What is wrong with the clocks; none: they agree, or nothing is known.
#[must_use]
pub fn clock_problem(difference: Option<SignedDuration>) -> Option<String> {
    let difference = difference.filter(|by| by.abs() > CLOCK_TOLERANCE)?;
    let (seconds, word) = (difference.as_secs(), "of the API server");
    Some(if seconds > 0 {
        format!("the clock {word} is {seconds} s ahead of the operator's")
    } else {
        format!("the clock {word} is {} s behind the operator's", -seconds)
    })
}

/// Shows in `/readyz` and `/healthz` how the operator is.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Health);

impl Readiness {
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.clone()
    }

    /// The pipeline makes progress.
    pub fn pipeline_goes_on(&self) {
        self.0.heartbeat(ALIVE_FOR);
    }

    /// Shows what is wrong; nothing: the operator is ready.
    pub fn show<'a>(&self, problems: impl IntoIterator<Item = &'a str>) {
        let problems: Vec<&str> = problems.into_iter().collect();
        if problems.is_empty() {
            self.0.ready();
        } else {
            self.0.not_ready_because(&problems.join("; "));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use jiff::SignedDuration;

    use super::{PublishHealth, clock_problem};
    use crate::pipeline::{IdleReason, PipelineError, RunOutcome};
    use crate::watches::WatchedKind;

    const fn refused(intents: usize) -> Result<RunOutcome, PipelineError> {
        let retry = None;
        Ok(RunOutcome::Partly { intents, retry })
    }

    #[test]
    fn an_operator_that_publishes_nothing_for_two_minutes_is_not_ready() {
        let (mut health, start) = (PublishHealth::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(health.problem().is_some(), "it starts");
        health.observe(&Ok(RunOutcome::Done), at(0));
        assert_eq!(health.problem(), None);
        health.observe(&refused(3), at(10));
        health.observe(&refused(3), at(100));
        assert_eq!(health.problem(), None, "it may be over soon");
        health.observe(&Err(PipelineError::NotLeading), at(131));
        let problem = health.problem().expect("a problem").to_owned();
        assert!(problem.contains("121 s"), "{problem}");
        health.observe(&Ok(RunOutcome::Done), at(132));
        assert_eq!(health.problem(), None);
    }

    #[test]
    fn a_status_that_is_never_taken_leaves_the_operator_ready() {
        let (mut health, start) = (PublishHealth::default(), Instant::now());
        health.observe(&refused(0), start);
        health.observe(&refused(0), start + Duration::from_secs(600));
        assert_eq!(health.problem(), None);
    }

    #[test]
    fn a_store_that_is_not_complete_is_named_at_once() {
        let (mut health, start) = (PublishHealth::default(), Instant::now());
        let missing = IdleReason::Missing(vec![WatchedKind::Pod]);
        health.observe(&Ok(RunOutcome::Idle(missing)), start);
        assert_eq!(health.problem(), Some("stores are not complete: Pod"));
    }

    #[test]
    fn a_clock_that_differs_by_more_than_a_minute_is_a_problem_in_both_directions() {
        let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
        assert_eq!(clock_problem(None), None);
        assert_eq!(clock_problem(seconds(60)), None);
        assert_eq!(clock_problem(seconds(-60)), None);
        let ahead = clock_problem(seconds(61)).expect("a problem");
        assert!(ahead.contains("61 s ahead"), "{ahead}");
        let behind = clock_problem(seconds(-108_000)).expect("a problem");
        assert!(behind.contains("108000 s behind"), "{behind}");
    }
}
