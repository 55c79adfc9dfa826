//! How objects are written: a few at a time, each only while this process leads, none of them twice.

use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use postern_crds::NodeIntent;
use postern_crds::names::OPERATOR_FIELD_MANAGER;
use tracing::{error, info, warn};

use super::plan::{Planned, WriteMethod};
use crate::api::{Act, ApiError, Failure, within};
use crate::error::chain;
use crate::lease::Term;
use crate::metrics::{Metrics, Written};
use crate::pipeline::intents::Intents;

/// How many requests are under way at once.
pub(crate) const AT_ONCE: usize = 8;

/// What came of many writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Written.
    pub written: usize,
    /// Somebody was faster: look again.
    pub stale: usize,
    /// To be tried again later.
    pub passing: usize,
    /// Refused for good.
    pub refused: usize,
    /// Not sent, because the term was over.
    pub late: usize,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, failure: Option<Failure>) {
        match failure {
            None => self.written += 1,
            Some(Failure::Stale | Failure::Exists | Failure::Missing) => self.stale += 1,
            Some(Failure::Passing) => self.passing += 1,
            Some(Failure::Refused) => self.refused += 1,
        }
    }

    /// Is something not written?
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.stale + self.passing + self.refused + self.late > 0
    }

    /// Adds another one.
    pub const fn add(&mut self, other: Self) {
        self.written += other.written;
        self.stale += other.stale;
        self.passing += other.passing;
        self.refused += other.refused;
        self.late += other.late;
    }
}

/// Writes as the leader.
#[derive(Clone)]
pub struct Writer {
    /// The client.
    pub client: Client,
    /// Whether this process leads.
    pub term: Term,
    /// What is counted.
    pub metrics: Metrics,
}

impl Writer {
    /// May something be written now?
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

    /// Writes intents and remembers what was written.
    pub async fn publish(&self, planned: Vec<Planned>, intents: &mut Intents) -> Tally {
        let mut tally = Tally::default();
        let mut writes = futures::stream::iter(planned)
            .map(|one| self.write_if_leading(one).boxed())
            .buffer_unordered(AT_ONCE);
        while let Some(done) = writes.next().await {
            let Some((one, sent, answer)) = done else {
                tally.late += 1;
                continue;
            };
            tally.count(answer.as_ref().err().map(ApiError::failure));
            match answer {
                Ok(object) => {
                    self.metrics.wrote(one.change.counted());
                    info!(node = %one.node, serial = one.body.serial.0, why = one.change.as_str(), "published");
                    intents.arrivals.published(&one, sent);
                    intents.wrote(
                        one.node,
                        object.spec,
                        one.body,
                        &object.metadata,
                        Instant::now(),
                    );
                }
                Err(error) if error.failure() == Failure::Refused => {
                    error!(node = %one.node, error = chain(&error), "the intent was refused");
                }
                Err(error) => {
                    warn!(node = %one.node, error = chain(&error), "the intent was not published");
                }
            }
        }
        tally
    }

    /// What was written, when that was begun, and what came of it.
    async fn write_if_leading(
        &self,
        one: Planned,
    ) -> Option<(Planned, Timestamp, Result<NodeIntent, ApiError>)> {
        if !self.may_write() {
            return None;
        }
        let sent = Timestamp::now();
        let answer = self.write(&one).await?;
        Some((one, sent, answer))
    }

    /// Nothing: the term was over before the last request.
    async fn write(&self, one: &Planned) -> Option<Result<NodeIntent, ApiError>> {
        let api: Api<NodeIntent> = Api::all(self.client.clone());
        let what = format!("NodeIntent {}", one.node);
        let params = Self::params();
        let answer = match &one.way {
            WriteMethod::Create => {
                within(Act::Create, what, api.create(&params, &one.object)).await
            }
            WriteMethod::Replace => {
                let request = api.replace(one.node.as_str(), &params, &one.object);
                within(Act::Replace, what, request).await
            }
            WriteMethod::Anew { uid, version } => {
                let exactly = Preconditions {
                    uid: uid.clone(),
                    resource_version: version.clone(),
                };
                let delete = DeleteParams::default().preconditions(exactly);
                let request = api.delete(one.node.as_str(), &delete);
                if let Err(error) = within(Act::Delete, what.clone(), request).await {
                    return Some(Err(error));
                }
                // What is made has no version that a new leader could have made old.
                if !self.may_write() {
                    return None;
                }
                within(Act::Create, what, api.create(&params, &one.object)).await
            }
        };
        Some(answer)
    }

    /// Counts what was written, and logs what was not.
    pub(crate) fn note<T>(&self, written: Written, answer: &Result<T, ApiError>) {
        match answer {
            Ok(_) => self.metrics.wrote(written),
            Err(error) => warn!(error = chain(error), "not written"),
        }
    }
}
