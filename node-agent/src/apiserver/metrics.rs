//! Metrics of the exchange with the API server: `postern_agent_api_*` and what it brought and took.

use jiff::Timestamp;
use postern_apiserver::Requests;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    // The label is part of the metric's interface.
    line: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct File {
    document: &'static str,
}

#[derive(Debug, Clone, Default)]
pub struct ApiMetrics {
    requests: Requests,
    last_contact: Gauge,
    failures: Family<FailureLabels, Counter>,
    documents: Family<File, Counter>,
    reports: Counter,
    gone: Gauge,
}

impl ApiMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "api_last_contact_timestamp_seconds",
            "Unix time of the API server's last answer, 0 before the first",
            self.last_contact.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API server, by method and status code",
            self.requests.total(),
        );
        registry.register(
            "api_failures",
            "Attempts that failed, by what was attempted and by status code or word",
            self.failures.clone(),
        );
        registry.register(
            "documents_delivered",
            "Documents delivered by the API server, by file",
            self.documents.clone(),
        );
        registry.register(
            "reports_applied",
            "Reports that the API server took",
            self.reports.clone(),
        );
        registry.register(
            "intent_gone",
            "1 while the API server has no NodeIntent for this node; nothing is taken back for that",
            self.gone.clone(),
        );
    }

    /// What clients count, and what answers say in `Retry-After`.
    pub(super) const fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(super) fn answered(&self) {
        self.last_contact.set(Timestamp::now().as_second());
    }

    pub(super) fn failed(&self, line: &'static str, reason: String) {
        self.failures
            .get_or_create(&FailureLabels { line, reason })
            .inc();
    }

    pub(super) fn delivered(&self, document: &'static str) {
        self.documents.get_or_create(&File { document }).inc();
    }

    pub(super) fn applied(&self) {
        self.reports.inc();
    }

    pub(super) fn gone(&self, intents: usize) {
        self.gone.set(i64::from(intents == 0));
    }

    /// Gives every family a value, so that all of them are served.
    #[cfg(test)]
    pub(crate) fn is_used(&self) {
        self.requests.count("GET", "200");
        self.failed("intents", "late".to_owned());
        self.delivered("intent.dsse.json");
    }

    /// Unix time in seconds of the last answer, 0 before the first.
    #[must_use]
    pub fn last_contact(&self) -> i64 {
        self.last_contact.get()
    }

    /// How many attempts failed in this way.
    #[must_use]
    pub fn failures(&self, line: &'static str, reason: &str) -> u64 {
        let reason = reason.to_owned();
        self.failures
            .get_or_create(&FailureLabels { line, reason })
            .get()
    }

    /// Is the node without a NodeIntent?
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.get() == 1
    }
}
