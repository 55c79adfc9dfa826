//! Whether the API server answers: a connection is opened and closed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use postern_agent_core::isolation::ConfirmAnswer;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a connection may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);
/// Between two questions.
const PACE: Duration = Duration::from_millis(250);

/// One question at a time.
#[derive(Debug, Default)]
pub(super) struct ConfirmQuestion {
    running: Option<JoinHandle<ConfirmAnswer>>,
    asked: Option<Instant>,
}

impl ConfirmQuestion {
    /// Asks, unless a question waits for its answer.
    pub(super) fn ask(&mut self, servers: &BTreeSet<SocketAddr>) {
        if self.running.is_some() {
            return;
        }
        let now = Instant::now();
        let due = self.asked.map_or(now, |asked| (asked + PACE).max(now));
        self.asked = Some(due);
        self.running = Some(tokio::spawn(answer(servers.clone(), due)));
    }

    /// Forgets the question before, with its answer.
    pub(super) fn forget(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
        self.asked = None;
    }

    /// The answer; never, where nothing was asked.
    pub(super) async fn answer(&mut self) -> ConfirmAnswer {
        match &mut self.running {
            None => std::future::pending().await,
            Some(running) => {
                let answer = running.await.unwrap_or(ConfirmAnswer::Silent);
                self.running = None;
                answer
            }
        }
    }
}

/// One that answers is enough. Without a known API server there is no answer.
async fn answer(servers: BTreeSet<SocketAddr>, due: Instant) -> ConfirmAnswer {
    sleep_until(due).await;
    let connects = async |server: SocketAddr| {
        let connection = timeout(ANSWER_DEADLINE, TcpStream::connect(server)).await;
        connection.is_ok_and(|connection| connection.is_ok())
    };
    let answers = join_all(servers.into_iter().map(connects)).await;
    match answers.contains(&true) {
        true => ConfirmAnswer::Answered,
        false => ConfirmAnswer::Silent,
    }
}
