//! Connections through the gateway in use to what the exit's probe names, at a steady pace: a gateway that answers echoes
//! may have a dead uplink.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postern_plan::desired::dns::DnsExit;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Outcome;
use crate::dns::takes_connection;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Connects until the task is aborted, and passes each outcome on: one target that answers is enough.
pub(super) async fn keep_connecting(
    exit: DnsExit,
    targets: Vec<SocketAddr>,
    pace: Duration,
    tell: impl AsyncFn(Outcome),
) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tries: JoinSet<Option<Duration>> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(tried) = tries.join_next() => match tried {
                Ok(Some(took)) => tell(Outcome::Answered(took)).await,
                Ok(None) => tell(Outcome::Missed).await,
                Err(_) => {}
            },
            due = ticks.tick() => {
                let late = due.elapsed();
                if late > pace {
                    tell(Outcome::Late(late)).await;
                }
                for target in targets.iter().filter(|target| exit.may_ask(&target.ip())) {
                    let (exit, target) = (exit.clone(), *target);
                    tries.spawn(async move {
                        let begun = Instant::now();
                        let connected = timeout(PATIENCE, takes_connection(&exit, target)).await;
                        (connected == Ok(true)).then(|| begun.elapsed())
                    });
                }
            }
        }
    }
}
