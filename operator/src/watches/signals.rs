//! What the pipeline knows of the watches: that something changed, which stores are complete, which nodes have reported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postern_apiserver::NewestRevision;
use tokio::sync::watch;

use super::kinds::WatchedKind;

/// How long the last failure of a watch makes its store doubtful. Failing watches try again at least every 37 s.
const DOUBT: Duration = Duration::from_secs(45);

/// How many failures in a row make a store doubtful: one cut connection does not.
const PATIENCE: u32 = 3;

/// How a watch is.
#[derive(Debug, Clone, Default)]
struct Watched {
    synced: Option<Instant>,
    failures: u32,
    last_failure: Option<Instant>,
    newest: NewestRevision,
}

/// Who reported since this process began to watch, by node name. What a list shows may be what a restored store
/// remembers; a write during a watch is delivered as an event.
pub type ReportedNodes = BTreeSet<String>;

/// Shared by all watches and the pipeline.
#[derive(Debug, Clone)]
pub struct WatchSignals {
    changes: Arc<watch::Sender<u64>>,
    watched: Arc<Mutex<BTreeMap<WatchedKind, Watched>>>,
    reported_nodes: Arc<Mutex<ReportedNodes>>,
    /// The generation of the definition of policies.
    definition: Arc<watch::Sender<i64>>,
}

impl Default for WatchSignals {
    fn default() -> Self {
        Self {
            changes: Arc::new(watch::channel(0).0),
            watched: Arc::default(),
            reported_nodes: Arc::default(),
            definition: Arc::new(watch::channel(0).0),
        }
    }
}

impl WatchSignals {
    /// Something may have changed.
    pub fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Who wants to know of changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The definition of policies has this generation from now on.
    pub(super) fn defined(&self, generation: i64) {
        self.definition
            .send_if_modified(|known| std::mem::replace(known, generation) != generation);
    }

    /// Who lists policies again when their definition changes.
    pub(super) fn definitions(&self) -> watch::Receiver<i64> {
        self.definition.subscribe()
    }

    pub(super) fn succeeded(&self, kind: WatchedKind) {
        let mut watched = self.watched();
        let entry = watched.entry(kind).or_default();
        entry.failures = 0;
        entry.last_failure = None;
    }

    pub(super) fn synced(&self, kind: WatchedKind, now: Instant) {
        self.succeeded(kind);
        self.watched()
            .entry(kind)
            .or_default()
            .synced
            .get_or_insert(now);
        self.changed();
    }

    /// The API server does not serve the kind. Of a kind that a cluster need not have there are no objects; of every other
    /// one nothing is known until it is served.
    pub(super) fn not_served(&self, kind: WatchedKind, now: Instant) {
        if kind.is_optional() {
            self.synced(kind, now);
        }
    }

    pub(super) fn failed(&self, kind: WatchedKind, now: Instant) {
        let mut watched = self.watched();
        let entry = watched.entry(kind).or_default();
        entry.failures = entry.failures.saturating_add(1);
        entry.last_failure = Some(now);
    }

    pub(super) fn report_arrived(&self, node: &str) {
        let is_new = self.reported_guard().insert(node.to_owned());
        if is_new {
            self.changed();
        }
    }

    #[must_use]
    pub fn reported_nodes(&self) -> ReportedNodes {
        self.reported_guard().clone()
    }

    /// An object or a list of the kind had this version.
    pub fn saw(&self, kind: WatchedKind, version: Option<&str>) {
        self.watched().entry(kind).or_default().newest.saw(version);
    }

    /// The newest version of the kind that was seen.
    #[must_use]
    pub fn newest(&self, kind: WatchedKind) -> Option<u64> {
        self.watched()
            .get(&kind)
            .and_then(|entry| entry.newest.get())
    }

    /// How long a kind has been watched since its first list.
    #[must_use]
    pub fn watching(&self, kind: WatchedKind, now: Instant) -> Duration {
        let synced = self.watched().get(&kind).and_then(|entry| entry.synced);
        synced.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// Stores that are not complete, or whose watch keeps failing: nothing is decided without them.
    #[must_use]
    pub fn missing(&self, now: Instant) -> Vec<WatchedKind> {
        let watched = self.watched();
        let complete = |kind: &WatchedKind| {
            watched.get(kind).is_some_and(|entry| {
                let failing = entry.failures >= PATIENCE
                    && entry
                        .last_failure
                        .is_some_and(|at| now.saturating_duration_since(at) < DOUBT);
                entry.synced.is_some() && !failing
            })
        };
        WatchedKind::ALL
            .into_iter()
            .filter(|kind| !complete(kind))
            .collect()
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<WatchedKind, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reported_guard(&self) -> MutexGuard<'_, ReportedNodes> {
        self.reported_nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::kinds::WatchedKind;
    use super::WatchSignals;

    #[test]
    fn a_store_is_missing_until_its_first_list_and_while_its_watch_keeps_failing() {
        let (signals, now) = (WatchSignals::default(), Instant::now());
        for kind in WatchedKind::ALL {
            assert!(signals.missing(now).contains(&kind));
            signals.synced(kind, now);
        }
        assert!(signals.missing(now).is_empty());
        signals.failed(WatchedKind::Pod, now);
        signals.failed(WatchedKind::Pod, now);
        assert!(
            signals.missing(now).is_empty(),
            "a cut connection is no loss"
        );
        signals.failed(WatchedKind::Pod, now);
        assert_eq!(signals.missing(now), [WatchedKind::Pod]);
        assert!(signals.missing(now + Duration::from_secs(45)).is_empty());
        signals.failed(WatchedKind::Pod, now);
        signals.succeeded(WatchedKind::Pod);
        assert!(signals.missing(now).is_empty());
    }

    #[test]
    fn a_kind_that_a_cluster_need_not_serve_is_complete_where_it_is_not_served() {
        let (signals, now) = (WatchSignals::default(), Instant::now());
        signals.not_served(WatchedKind::ServiceCidr, now);
        assert!(!signals.missing(now).contains(&WatchedKind::ServiceCidr));
        signals.not_served(WatchedKind::EgressPolicy, now);
        assert!(signals.missing(now).contains(&WatchedKind::EgressPolicy));
    }
}
