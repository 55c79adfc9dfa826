//! Whether the API server answers one kind of request, logged once a change and not once a try.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_telemetry::chain;

use super::backoff::{ApiBackoff, ApiWait};
use super::error::ApiError;
use super::metrics::ApiMetrics;

/// The health of one kind of request, shared by its task and the client that sees every answer.
#[derive(Debug)]
pub struct ApiHealth {
    name: &'static str,
    metrics: ApiMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    /// When the server wants to be asked again, by its last Retry-After.
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    told: BTreeSet<String>,
}

impl ApiHealth {
    /// A kind of request of which nothing is known.
    #[must_use]
    pub fn new(name: &'static str, metrics: ApiMetrics) -> Self {
        Self {
            name,
            metrics,
            state: Mutex::default(),
        }
    }

    /// The exchange's numbers.
    #[must_use]
    pub const fn metrics(&self) -> &ApiMetrics {
        &self.metrics
    }

    /// Something failed that is no trouble, for example a watch whose version is too old.
    pub fn count(&self, word: String) {
        self.metrics.failed(self.name, word);
    }

    /// An answer came, whatever it says; with the seconds of its Retry-After.
    pub fn answered(&self, status: u16, retry_after: Option<u64>) {
        self.state().not_before =
            retry_after.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(3600)));
        // Overload, a broken store and an unknown token are answers of something that does not serve us.
        if status < 500 && status != 401 && status != 429 {
            self.metrics.heard();
        }
    }

    /// The requests work; logged once, with how long it did not. Its task says so, and not an answer: one request that works
    /// does not mean that the next one will.
    pub fn works(&self) {
        if let Some(trouble) = self.state().trouble.take() {
            tracing::info!(
                exchange = self.name,
                away_seconds = trouble.since.elapsed().as_secs(),
                "the API server answers again"
            );
        }
    }

    /// An attempt failed; each reason is said once until they work again.
    pub fn failed(&self, error: &ApiError) {
        let word = error.word();
        self.metrics.failed(self.name, word.clone());
        let mut state = self.state();
        let trouble = state.trouble.get_or_insert_with(|| Trouble {
            since: Instant::now(),
            told: BTreeSet::new(),
        });
        if trouble.told.insert(word) {
            tracing::warn!(
                exchange = self.name,
                away_seconds = trouble.since.elapsed().as_secs(),
                last_contact = self.metrics.last_contact(),
                "the exchange with the API server failed: {}; what is in force stays",
                chain(error)
            );
        }
    }

    /// Waits as long as is due after a failure.
    pub(super) async fn pause(&self, backoff: &mut ApiBackoff, wait: ApiWait) {
        let asked = self.state().not_before.take();
        let asked = asked.map(|at| at.saturating_duration_since(Instant::now()));
        tokio::time::sleep(backoff.after(wait, asked)).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking task left behind is still what was last seen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
