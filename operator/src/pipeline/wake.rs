//! When the pipeline runs: soon after something changed, not for each change, and again after a failure.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::error::PipelineError;
use super::outcome::{IdleReason, Outcome};
use super::period::{PERIOD, period};
use super::run::Pipeline;
use crate::api::{Pace, Wait, random_number};
use crate::error::chain;
use crate::metrics::RunResult;
use crate::program::Readiness;
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
    let mut term = pipeline.parts.term.clone();
    let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(30));
    loop {
        changes.mark_unchanged();
        settings.mark_unchanged();
        let span = info_span!("run");
        let ran = pipeline.run().instrument(span).await;
        if let Err(PipelineError::WentBack { .. }) = &ran {
            return ran.map(|_| ());
        }
        announce_key(&mut pipeline, &ran);
        let rest = judge(&mut pipeline, ran, &readiness, &mut pace);
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
fn announce_key(pipeline: &mut Pipeline, ran: &Result<Outcome, PipelineError>) {
    match ran {
        Err(PipelineError::Signer(problem)) if !matches!(problem, SignerError::Api(_)) => {
            pipeline.announce_lost_key(Some(problem));
        }
        Err(_) | Ok(Outcome::Idle(_)) => {}
        Ok(_) => pipeline.announce_lost_key(None),
    }
}

/// How to wait for the next run.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// Until when at most.
    longest: Duration,
    /// A change before this time does not wake.
    shortest: Duration,
    /// Whether the beginning of a term wakes.
    standby: bool,
}

impl Rest {
    fn at_least(self, shortest: Duration) -> Self {
        Self {
            longest: self.longest.max(shortest),
            shortest: self.shortest.max(shortest),
            ..self
        }
    }
}

/// Waits for a change and then for quiet.
async fn changed(changes: &mut watch::Receiver<u64>, rest: Rest) {
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

fn judge(
    pipeline: &mut Pipeline,
    ran: Result<Outcome, PipelineError>,
    readiness: &Readiness,
    pace: &mut Pace,
) -> Rest {
    let metrics = pipeline.parts.metrics.clone();
    let waiting = |longest| Rest {
        longest,
        shortest: Duration::ZERO,
        standby: false,
    };
    match ran {
        Ok(Outcome::Done(wait)) => {
            pace.succeeded();
            metrics.ran(RunResult::Done);
            metrics.last_success.set(jiff::Timestamp::now().as_second());
            readiness.ready();
            let period = period(pipeline.parts.settings.borrow().refresh);
            waiting(wait.unwrap_or(period).min(period))
        }
        Ok(Outcome::Idle(why)) => {
            idle(&why, readiness);
            Rest {
                standby: why == IdleReason::Standby,
                ..waiting(match why {
                    IdleReason::Standby => PERIOD,
                    IdleReason::Missing(_)
                    | IdleReason::TooLow
                    | IdleReason::Lagging
                    | IdleReason::Stamping(_) => SOON,
                })
            }
        }
        Ok(Outcome::Again) => {
            metrics.ran(RunResult::Again);
            waiting(SOON)
        }
        Ok(Outcome::Later) => {
            metrics.ran(RunResult::Failed);
            later(pace)
        }
        Err(problem) if problem.is_stale() => {
            metrics.ran(RunResult::Again);
            info!(error = chain(&problem), "what was read is old");
            waiting(SOON)
        }
        Err(problem) => {
            metrics.ran(RunResult::Failed);
            say(&problem, readiness);
            later(pace)
        }
    }
}

fn idle(why: &IdleReason, readiness: &Readiness) {
    match why {
        IdleReason::Standby => readiness.ready(),
        IdleReason::Missing(kinds) => {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
            readiness.not_ready(&format!("stores are not complete: {}", names.join(", ")));
        }
        IdleReason::Stamping(_) | IdleReason::TooLow | IdleReason::Lagging => {}
    }
}

fn say(problem: &PipelineError, readiness: &Readiness) {
    let text = chain(problem);
    match problem {
        PipelineError::Signer(_) | PipelineError::Page(_) | PipelineError::Memory(_) => {
            error!(error = text, "nothing is published");
            readiness.not_ready(&text);
        }
        _ => warn!(error = text, "the run ended early"),
    }
}

/// After a failure nothing wakes it before its time: the API server is to be spared.
fn later(pace: &mut Pace) -> Rest {
    let wait = pace.failed(random_number());
    Rest {
        longest: wait,
        shortest: wait,
        standby: false,
    }
}
