//! How one object is written: only while this process leads, and not before its own back-off is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::PostParams;
use postern_apiserver::{ApiError, ApiVerb, Failure, random_number, within};
use postern_crds::names::OPERATOR_FIELD_MANAGER;
use tracing::{error, warn};

use super::tally::Tally;
use crate::error::chain;
use crate::lease::LeaseTerm;
use crate::metrics::{OperatorMetrics, gauge};
use crate::pipeline::object_key::ObjectKey;
use crate::pipeline::write_backoff::WriteBackoff;

/// How many requests are under way at once.
pub(crate) const AT_ONCE: usize = 8;

/// Writes as the leader; clones share the back-offs of the objects.
#[derive(Clone)]
pub struct Writer {
    /// Reaches the API server.
    pub client: Client,
    /// Whether this process leads.
    pub term: LeaseTerm,
    pub metrics: OperatorMetrics,
    backoff: Arc<Mutex<WriteBackoff>>,
}

/// What came of the attempt to write one object.
#[derive(Debug)]
pub enum WriteAttempt<T> {
    /// The API server took it.
    Written(T),
    /// The API server did not take it.
    Failed(ApiError),
    /// Nothing was sent, because this process does not lead.
    NotLeading,
    /// Nothing was sent, because the last write of the object failed a short time ago.
    BackingOff,
}

impl<T> WriteAttempt<T> {
    /// As it is counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        match self {
            Self::Written(_) => tally.written = 1,
            Self::Failed(error) => match error.failure() {
                Failure::Stale | Failure::Exists | Failure::Missing => tally.stale = 1,
                Failure::Passing => tally.passing = 1,
                Failure::Refused => tally.refused = 1,
            },
            Self::NotLeading => tally.late = 1,
            Self::BackingOff => tally.backing_off = 1,
        }
        tally
    }
}

impl Writer {
    #[must_use]
    pub fn new(client: Client, term: LeaseTerm, metrics: OperatorMetrics) -> Self {
        Self {
            client,
            term,
            metrics,
            backoff: Arc::default(),
        }
    }

    /// Whether something may be written now.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.term.epoch(Instant::now()).is_some()
    }

    /// Parameters of a write.
    #[must_use]
    pub fn params() -> PostParams {
        PostParams {
            field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        }
    }

    /// Writes one object, unless this process does not lead or the object's back-off is not over. A failure is logged.
    pub async fn attempt<T>(
        &self,
        key: &ObjectKey,
        act: ApiVerb,
        request: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> WriteAttempt<T> {
        if !self.may_write() {
            return WriteAttempt::NotLeading;
        }
        if !self.is_due(key, Instant::now()) {
            return WriteAttempt::BackingOff;
        }
        match within(act, key.to_string(), request).await {
            Ok(value) => {
                self.backoff().succeeded(key);
                WriteAttempt::Written(value)
            }
            Err(error) => {
                self.keep_back(key, &error);
                WriteAttempt::Failed(error)
            }
        }
    }

    /// An object that was read too early is read again at once; one that was refused, or that the API server could not
    /// take, is left alone for a while.
    fn keep_back(&self, key: &ObjectKey, problem: &ApiError) {
        match problem.failure() {
            Failure::Stale | Failure::Exists | Failure::Missing => {
                self.backoff().succeeded(key);
                warn!(object = %key, error = chain(problem), "the object changed before it was written");
            }
            Failure::Passing => {
                warn!(object = %key, error = chain(problem), "the API server did not take the object");
                self.backoff().failed(key, Instant::now(), random_number());
            }
            Failure::Refused => {
                error!(object = %key, error = chain(problem), "the API server refuses the object");
                self.backoff().failed(key, Instant::now(), random_number());
            }
        }
    }

    /// Whether the back-off of an object is over.
    pub(crate) fn is_due(&self, key: &ObjectKey, now: Instant) -> bool {
        self.backoff().is_due(key, now)
    }

    /// After what time the next object may be written again; none: no object waits. Shows in a metric how many do.
    #[must_use]
    pub fn next_retry(&self, now: Instant) -> Option<Duration> {
        let mut backoff = self.backoff();
        self.metrics.backing_off.set(gauge(backoff.waiting(now)));
        backoff.next(now)
    }

    fn backoff(&self) -> MutexGuard<'_, WriteBackoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
