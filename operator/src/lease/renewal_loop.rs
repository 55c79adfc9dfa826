//! Keeping the lease: the loop around the decision.

use std::time::{Duration, Instant};

use postern_apiserver::random_number;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::holder::{LeaseError, LeaseSession, LeaseTurn};
use super::term::TermWriter;
use crate::error::chain;
use crate::options::LeaseArguments;

/// How keeping the lease ended. The process ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEnd {
    /// It was given back on request.
    Released,
    /// It could not be renewed in time, or another process has it.
    Lost,
    /// The API server's store went back to an older state: memory and caches are worth nothing.
    WentBack,
}

/// Takes the lease when it is free and renews it until it is lost, or until `stop` asks to give it back.
pub async fn keep(
    mut session: LeaseSession,
    writer: TermWriter,
    times: LeaseArguments,
    mut stop: oneshot::Receiver<()>,
) -> LeaseEnd {
    let mut until: Option<Instant> = None;
    loop {
        let turn = bounded(&mut session, &writer, until).await;
        match (turn, until) {
            (Ok(LeaseTurn::Ours { epoch, sent }), before) => {
                if before.is_none() {
                    info!(epoch, name = session.name(), "this process leads");
                }
                writer.lead(epoch, sent, times.renew_deadline);
                until = Some(sent + times.renew_deadline);
            }
            (Ok(LeaseTurn::Others), None) => {}
            (Ok(LeaseTurn::Others), Some(_)) => {
                return lost(&writer, "another process has the lease");
            }
            (Err(LeaseError::WentBack(found)), _) => {
                writer.end();
                warn!(%found, "the API server's store went back");
                return LeaseEnd::WentBack;
            }
            (Err(error), _) => warn!(error = chain(&error), "the lease could not be kept"),
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return lost(&writer, "the lease was not renewed in time");
        }
        tokio::select! {
            () = tokio::time::sleep(pause(times, until)) => {}
            _ = &mut stop => return release(&mut session, &writer).await,
        }
    }
}

/// One look, at most until the term ends.
async fn bounded(
    session: &mut LeaseSession,
    writer: &TermWriter,
    until: Option<Instant>,
) -> Result<LeaseTurn, LeaseError> {
    let turn = session.turn(writer.floor());
    match until {
        None => turn.await,
        Some(until) => match tokio::time::timeout_at(until.into(), turn).await {
            Ok(turn) => turn,
            Err(_) => Err(LeaseError::Late),
        },
    }
}

/// Up to a fifth longer than asked for, so that standbys do not come together; never past the end of the term.
fn pause(times: LeaseArguments, until: Option<Instant>) -> Duration {
    let period = times.retry_period + times.retry_period / 5 * (random_number() % 64) / 64;
    until.map_or(period, |until| {
        period.min(until.saturating_duration_since(Instant::now()))
    })
}

fn lost(writer: &TermWriter, why: &str) -> LeaseEnd {
    writer.end();
    warn!(why, "not leading any more");
    LeaseEnd::Lost
}

async fn release(session: &mut LeaseSession, writer: &TermWriter) -> LeaseEnd {
    writer.end();
    match session.release().await {
        Ok(()) => info!("the lease was given back"),
        Err(error) => warn!(error = chain(&error), "the lease runs out by itself"),
    }
    LeaseEnd::Released
}
