//! The Lease object: read, made, taken, renewed, given back, each time in exactly the version that was seen.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use postern_apiserver::{ApiError, ApiVerb, Failure, NewestRevision, within};
use postern_crds::names::OPERATOR_FIELD_MANAGER;
use thiserror::Error;

use super::decide::{LeaseDecision, SeenLease, SetBack, decide, undone};
use crate::options::LeaseArguments;

/// Name of the Lease.
pub(crate) const LEASE: &str = "postern-operator";

/// Why the lease could not be looked at or written.
#[derive(Debug, Error)]
pub enum LeaseError {
    #[error("the lease cannot be kept")]
    Api(#[source] ApiError),
    /// There was no answer before the end of the term.
    #[error("the lease was not renewed before the end of the term")]
    Late,
    /// What the API server shows is older than what it has shown.
    #[error("the API server's store went back")]
    WentBack(#[source] SetBack),
}

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseTurn {
    /// It is ours, by a request that was sent at that time.
    Ours {
        /// Which term it is.
        epoch: u64,
        /// When the request was sent.
        sent: Instant,
    },
    Others,
}

/// One process's dealings with the lease.
#[derive(Debug)]
pub struct LeaseSession {
    api: Api<Lease>,
    name: String,
    times: LeaseArguments,
    start: Instant,
    seen: Option<(SeenLease, Lease)>,
    revision: NewestRevision,
}

impl LeaseSession {
    /// Begins. `revision` is the lease's newest. `identity` is made unique for this process: one that comes back under its old name is another one.
    #[must_use]
    pub fn new(
        client: Client,
        revision: NewestRevision,
        namespace: &str,
        identity: &str,
        times: LeaseArguments,
    ) -> Self {
        let mut salt = [0; 4];
        // Without random bytes the process id has to do.
        if getrandom::fill(&mut salt).is_err() {
            salt = std::process::id().to_le_bytes();
        }
        Self {
            api: Api::namespaced(client, namespace),
            name: format!("{identity}_{:08x}", u32::from_le_bytes(salt)),
            times,
            start: Instant::now(),
            seen: None,
            revision,
        }
    }

    /// This process's name on the lease.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks once, and writes if it is ours or free. `epoch` is the one that is led under already: it never falls,
    /// also when somebody deletes the lease and its count of changes with it.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn turn(&mut self, floor: u64) -> Result<LeaseTurn, LeaseError> {
        let sent = Instant::now();
        // What we wrote last is what is there, unless somebody changed it: then the write is refused and we look.
        if let Some(transitions) = self.ours() {
            let renewed = self.write(transitions.max(floor), sent).await?;
            if renewed != LeaseTurn::Others {
                return Ok(renewed);
            }
        }
        let sent = Instant::now();
        let read = within(ApiVerb::Get, what(), self.api.get_opt(LEASE)).await;
        let lease = read.map_err(LeaseError::Api)?;
        let former = self.seen.take().map(|(sight, _)| sight);
        self.look(lease, former.as_ref());
        let sight = self.seen.as_ref().map(|(sight, _)| sight);
        let newest = self.revision.get();
        if let (Some(sight), Some(former)) = (sight, &former)
            && let Some(found) = undone(sight, former)
        {
            return Err(LeaseError::WentBack(found));
        }
        match decide(sight, &self.name, newest, self.start.elapsed()) {
            LeaseDecision::Wait => Ok(LeaseTurn::Others),
            LeaseDecision::WentBack => Err(LeaseError::WentBack(SetBack::Version {
                found: sight.map(|seen| seen.version.clone()).unwrap_or_default(),
                newest: newest.unwrap_or_default(),
            })),
            LeaseDecision::Create => self.write(floor.saturating_add(1), sent).await,
            LeaseDecision::Take { transitions } => {
                self.write(transitions.max(floor + 1), sent).await
            }
            LeaseDecision::Renew => {
                let transitions = sight.map_or(0, |seen| seen.transitions);
                self.write(transitions.max(floor), sent).await
            }
        }
    }

    /// Gives it back, if it is ours.
    ///
    /// # Errors
    /// [`LeaseError::Api`].
    pub async fn release(&mut self) -> Result<(), LeaseError> {
        let (Some(_), Some((_, lease))) = (self.ours(), &self.seen) else {
            return Ok(());
        };
        let mut lease = lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let params = params();
        let request = self.api.replace(LEASE, &params, &lease);
        let answer = within(ApiVerb::Replace, what(), request).await;
        answer.map(|_| ()).map_err(LeaseError::Api)
    }

    fn ours(&self) -> Option<u64> {
        let (sight, _) = self.seen.as_ref()?;
        (sight.holder.as_deref() == Some(&self.name)).then_some(sight.transitions)
    }

    async fn write(&mut self, transitions: u64, sent: Instant) -> Result<LeaseTurn, LeaseError> {
        let now = MicroTime(Timestamp::now());
        let old = self.seen.as_ref().map(|(_, lease)| lease);
        let spec = old.and_then(|lease| lease.spec.as_ref());
        let ours = spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.name);
        let acquired = spec
            .filter(|_| ours)
            .and_then(|spec| spec.acquire_time.clone());
        let lease = Lease {
            metadata: old.map_or_else(named, |lease| lease.metadata.clone()),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.name.clone()),
                lease_duration_seconds: i32::try_from(self.times.lease_duration.as_secs()).ok(),
                lease_transitions: i32::try_from(transitions).ok(),
                acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
                renew_time: Some(now),
                ..spec.cloned().unwrap_or_default()
            }),
        };
        let params = params();
        let answer = if old.is_some() {
            let request = self.api.replace(LEASE, &params, &lease);
            within(ApiVerb::Replace, what(), request).await
        } else {
            let request = self.api.create(&params, &lease);
            within(ApiVerb::Create, what(), request).await
        };
        match answer {
            Ok(lease) => {
                let former = self.seen.take().map(|(sight, _)| sight);
                self.look(Some(lease), former.as_ref());
                Ok(LeaseTurn::Ours {
                    epoch: transitions,
                    sent,
                })
            }
            // Somebody was faster.
            Err(error) if matches!(error.failure(), Failure::Stale | Failure::Exists) => {
                Ok(LeaseTurn::Others)
            }
            Err(error) => Err(LeaseError::Api(error)),
        }
    }

    /// Remembers since when the lease has been as it is, and the newest version seen.
    fn look(&mut self, lease: Option<Lease>, former: Option<&SeenLease>) {
        let Some(lease) = lease else {
            self.seen = None;
            return;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match former {
            Some(seen) if seen.version == version => seen.since,
            _ => self.start.elapsed(),
        };
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        let sight = SeenLease {
            holder: spec.and_then(|spec| spec.holder_identity.clone()),
            duration: seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map_or(self.times.lease_duration, Duration::from_secs),
            transitions: spec
                .and_then(|spec| spec.lease_transitions)
                .and_then(|count| u64::try_from(count).ok())
                .unwrap_or_default(),
            renewed: spec.and_then(|spec| spec.renew_time.as_ref().map(|time| time.0)),
            version: version.clone(),
            since,
        };
        self.revision.saw(Some(&version));
        self.seen = Some((sight, lease));
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn what() -> String {
    format!("Lease {LEASE}")
}

fn named() -> ObjectMeta {
    ObjectMeta {
        name: Some(LEASE.to_owned()),
        ..ObjectMeta::default()
    }
}
