//! What a pipeline is made of.

use postern_apiserver::{NewestRevision, Requests};
use tokio::sync::watch;

use super::publish::Writer;
use super::statuses::{EventQueue, VerdictSender};
use crate::settings::KnownSettings;
use crate::watches::{WatchSignals, WatchedStores};

/// What a pipeline is made of.
pub struct PipelineParts {
    /// Writes as the leader.
    pub writer: Writer,
    pub namespace: String,
    /// Takes notices for people.
    pub events: EventQueue,
    /// Takes verdicts for the task that writes statuses.
    pub verdicts: VerdictSender,
    /// What the watches show.
    pub stores: WatchedStores,
    /// Which watches are complete, and that something changed.
    pub signals: WatchSignals,
    /// The administrator's settings in force, and whether newer ones are refused.
    pub settings: watch::Receiver<KnownSettings>,
    /// The newest revision of the lease.
    pub lease_revision: NewestRevision,
    /// How long the API server wants to be left alone.
    pub requests: Requests,
}
