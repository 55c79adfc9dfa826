//! When the pipeline runs: soon after something changed, not for each change, and again after a failure.

use std::time::{Duration, Instant};

use postern_apiserver::{Pace, Wait, random_number};
use tokio::sync::watch;
use tracing::{Instrument as _, error, info, info_span};

use super::error::PipelineError;
use super::outcome::{IdleReason, RunOutcome};
use super::period::{PERIOD, period};
use super::run::Pipeline;
use crate::error::chain;
use crate::health::{PublishHealth, Readiness, clock_problem};
use crate::metrics::RunResult;
use crate::signer::SignerError;

/// How long it is quiet before a run: a `kubectl apply` of a thousand objects is one run, or a few.
const QUIET: Duration = Duration::from_millis(100);

/// How long the first change waits at most: an object that changes all the time must not starve the others.
const LONGEST: Duration = Duration::from_secs(1);

/// How soon a run follows one that had read something old, if no watch shows anything before.
const SOON: Duration = Duration::from_millis(500);

/// Runs the pipeline until the process is to stop, or until what it knows is worth nothing.
///
/// # Errors
/// [`PipelineError::WentBack`].
pub async fn keep_running(
    mut pipeline: Pipeline,
    readiness: Readiness,
    mut stop: watch::Receiver<bool>,
) -> Result<(), PipelineError> {
    let mut changes = pipeline.parts.signals.subscribe();
    let mut settings = pipeline.parts.settings.clone();
    let mut term = pipeline.parts.writer.term.clone();
    let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(30));
    let mut publishing = PublishHealth::default();
    loop {
        readiness.pipeline_goes_on();
        changes.mark_unchanged();
        settings.mark_unchanged();
        let span = info_span!("run");
        let ran = pipeline.run().instrument(span).await;
        if let Err(PipelineError::WentBack { .. }) = &ran {
            return ran.map(|_| ());
        }
        announce_key(&mut pipeline, &ran);
        publishing.observe(&ran, Instant::now());
        let clock = show_clock(&pipeline);
        readiness.show(publishing.problem().into_iter().chain(clock.as_deref()));
        readiness.pipeline_goes_on();
        count(&pipeline, &ran);
        let period = period(pipeline.parts.settings.borrow().in_force.refresh);
        let period = pipeline.rest(period);
        let rest = rest_after(&ran, period, &mut pace, random_number());
        let rest = match pipeline.parts.requests.wait(Instant::now()) {
            Wait::For(asked) => rest.at_least(asked),
            Wait::Nothing => rest,
        };
        tokio::select! {
            () = tokio::time::sleep(rest.longest) => {}
            () = changed(&mut changes, rest) => {}
            _ = settings.changed() => {}
            () = term.begun(), if rest.standby => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}

/// Announces that nothing can be signed, as long as that lasts. An API server that does not answer says nothing about the
/// key.
fn announce_key(pipeline: &mut Pipeline, ran: &Result<RunOutcome, PipelineError>) {
    match ran {
        Err(PipelineError::Signer(problem)) if !matches!(problem, SignerError::Api(_)) => {
            pipeline.announce_lost_key(Some(problem));
        }
        Err(_) | Ok(RunOutcome::Idle(_)) => {}
        Ok(_) => pipeline.announce_lost_key(None),
    }
}

/// How to wait for the next run.
#[derive(Debug, Clone, Copy)]
struct RunDelay {
    /// Until when at most.
    longest: Duration,
    /// A change before this time does not wake.
    shortest: Duration,
    /// Whether the beginning of a term wakes.
    standby: bool,
}

impl RunDelay {
    fn at_least(self, shortest: Duration) -> Self {
        Self {
            longest: self.longest.max(shortest),
            shortest: self.shortest.max(shortest),
            ..self
        }
    }
}

/// Waits for a change and then for quiet.
async fn changed(changes: &mut watch::Receiver<u64>, rest: RunDelay) {
    tokio::time::sleep(rest.shortest).await;
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    let end = tokio::time::Instant::now() + LONGEST;
    while tokio::time::Instant::now() < end {
        match tokio::time::timeout(QUIET, changes.changed()).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// Counts how a run ended, and logs what ended it early.
fn count(pipeline: &Pipeline, ran: &Result<RunOutcome, PipelineError>) {
    let metrics = &pipeline.parts.writer.metrics;
    match ran {
        Ok(RunOutcome::Done) => {
            metrics.ran(RunResult::Done);
            metrics.last_success.set(jiff::Timestamp::now().as_second());
        }
        Ok(RunOutcome::Again) => metrics.ran(RunResult::Again),
        Ok(RunOutcome::Partly { .. }) => metrics.ran(RunResult::Failed),
        Ok(RunOutcome::Idle(_)) => {}
        Err(problem) if problem.is_stale() => {
            metrics.ran(RunResult::Again);
            info!(error = chain(problem), "the run read something old");
        }
        Err(problem) => {
            metrics.ran(RunResult::Failed);
            error!(error = chain(problem), "the run ended early");
        }
    }
}

/// Shows in a metric by how much the clocks differ, and says so if that is too much.
fn show_clock(pipeline: &Pipeline) -> Option<String> {
    let difference = pipeline.parts.requests.clock_difference();
    let metrics = &pipeline.parts.writer.metrics;
    let seconds = difference.map_or(0, |by| by.as_secs());
    metrics.clock_difference.set(seconds);
    clock_problem(difference)
}

/// How long to wait after a run. Only a failure of the whole run makes changes wait: what failed for one object waits by
/// itself, and everything else continues as before. Pure.
fn rest_after(
    ran: &Result<RunOutcome, PipelineError>,
    period: Duration,
    pace: &mut Pace,
    random: u32,
) -> RunDelay {
    let waiting = |longest| RunDelay {
        longest,
        shortest: Duration::ZERO,
        standby: false,
    };
    match ran {
        Ok(RunOutcome::Done) => {
            pace.succeeded();
            waiting(period)
        }
        Ok(RunOutcome::Partly { retry, .. }) => {
            pace.succeeded();
            waiting(retry.unwrap_or(SOON).min(period))
        }
        Ok(RunOutcome::Idle(IdleReason::Standby)) => RunDelay {
            standby: true,
            ..waiting(PERIOD)
        },
        Ok(RunOutcome::Again | RunOutcome::Idle(_)) => waiting(SOON),
        Err(problem) if problem.is_stale() => waiting(SOON),
        // The API server is to be spared: nothing wakes the pipeline before its time.
        Err(_) => {
            let wait = pace.failed(random);
            RunDelay {
                longest: wait,
                shortest: wait,
                standby: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PERIOD, Pace, PipelineError, RunOutcome, rest_after};

    #[test]
    fn after_a_write_that_failed_a_change_wakes_the_pipeline_at_once() {
        let mut pace = Pace::new(Duration::from_secs(1), Duration::from_secs(30));
        let retry = Some(Duration::from_secs(20));
        let refused = Ok(RunOutcome::Partly { intents: 0, retry });
        for _ in 0..10 {
            let rest = rest_after(&refused, PERIOD, &mut pace, 0);
            assert_eq!(rest.shortest, Duration::ZERO, "changes wait");
            assert_eq!(rest.longest, Duration::from_secs(20), "its own time");
        }
        let failed = Err(PipelineError::NotLeading);
        assert!(rest_after(&failed, PERIOD, &mut pace, 0).shortest > Duration::ZERO);
    }
}
