//! Whether the API server answers one kind of request, logged once a change and not once a try.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_apiserver::{Pace, Wait, random_number};
use postern_telemetry::chain;

use super::error::AgentApiError;
use super::metrics::ApiMetrics;

/// The first wait after a failure is about this long.
const FIRST: Duration = Duration::from_millis(500);
/// No wait of its own is longer: a node should notice within this time that the API server is back.
const LONGEST: Duration = Duration::from_secs(15);
/// The API server refuses the same request again until a right, a rule or the object has changed.
const REFUSED: Duration = Duration::from_secs(60);

/// How a failure is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiWait {
    /// It may work in a moment.
    Short,
    /// A right, a rule or an object has to change first.
    Long,
}

/// Waits after failures that follow each other.
pub(super) const fn pace() -> Pace {
    Pace::new(FIRST, LONGEST)
}

/// The health of one kind of request, shared by its task and the client that sees every answer.
#[derive(Debug)]
pub struct ApiHealth {
    name: &'static str,
    metrics: ApiMetrics,
    state: Mutex<ApiHealthState>,
}

#[derive(Debug, Default)]
struct ApiHealthState {
    trouble: Option<Trouble>,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    logged: BTreeSet<String>,
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

    #[must_use]
    pub const fn metrics(&self) -> &ApiMetrics {
        &self.metrics
    }

    /// Something failed that is no trouble, for example a watch whose version is too old.
    pub fn count(&self, word: String) {
        self.metrics.failed(self.name, word);
    }

    /// The API server answered with this status code.
    pub fn answered(&self, status: u16) {
        // Overload, a broken store and an unknown token are answers of something that does not serve us.
        if status < 500 && status != 401 && status != 429 {
            self.metrics.answered();
        }
    }

    /// The requests work; logged once, with how long it did not. The task that sends them calls this, and not each answer:
    /// after one request that works the next one may fail.
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
    pub fn failed(&self, error: &AgentApiError) {
        let word = error.word();
        self.metrics.failed(self.name, word.clone());
        let mut state = self.state();
        let trouble = state.trouble.get_or_insert_with(|| Trouble {
            since: Instant::now(),
            logged: BTreeSet::new(),
        });
        if trouble.logged.insert(word) {
            tracing::warn!(
                exchange = self.name,
                away_seconds = trouble.since.elapsed().as_secs(),
                last_contact = self.metrics.last_contact(),
                "the exchange with the API server failed: {}; what is in force stays",
                chain(error)
            );
        }
    }

    /// Waits as long as is due after a failure, and not shorter than the API server asked for (`Retry-After`).
    pub(super) async fn pause(&self, pace: &mut Pace, wait: ApiWait) {
        let due = match wait {
            ApiWait::Short => pace.failed(random_number()),
            ApiWait::Long => Pace::new(REFUSED, REFUSED).failed(random_number()),
        };
        let due = match self.metrics.requests().wait(Instant::now()) {
            Wait::Nothing => due,
            Wait::For(asked) => due.max(asked),
        };
        tokio::time::sleep(due).await;
    }

    fn state(&self) -> MutexGuard<'_, ApiHealthState> {
        // What a panicking task left behind is still what was last seen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
