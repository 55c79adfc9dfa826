//! What a pipeline is made of.

use std::sync::Arc;

use kube::Client;
use postern_compile::snapshot::Settings;
use tokio::sync::watch;

use super::report::EventQueue;
use crate::api::Requests;
use crate::lease::Term;
use crate::metrics::Metrics;
use crate::watches::{Signals, Stores};

/// What a pipeline is made of.
pub struct PipelineParts {
    /// Reaches the API server.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// Takes notices for people.
    pub events: EventQueue,
    /// What the watches show.
    pub stores: Stores,
    /// Which watches are complete, and that something changed.
    pub signals: Signals,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether this process leads.
    pub term: Term,
    /// The administrator's settings, as they are now.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// How long the API server wants to be left alone.
    pub requests: Requests,
}
