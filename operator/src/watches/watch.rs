//! One watch: list, follow, start again when the connection or the history is lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_kind};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Receiver;
use tracing::{debug, warn};

use super::kinds::WatchedKind;
use super::object::WatchedObject;
use super::signals::WatchSignals;
use crate::error::chain;
use crate::metrics::OperatorMetrics;

/// What is done with each object of a kind.
pub(super) struct WatchRules<K> {
    pub(super) kind: WatchedKind,
    /// Takes away what nobody reads. What stays the same after that wakes nobody.
    pub(super) lean: fn(&mut K),
    /// Whether two of them are the same to every reader.
    pub(super) same: fn(&WatchedObject<K>, &WatchedObject<K>) -> bool,
    /// Told of every object that changes while it is watched, before anything is taken away.
    pub(super) seen: fn(&WatchSignals, &K),
    /// Told of every object in a list.
    pub(super) listed: fn(&WatchSignals, &K),
}

/// A store and the task that fills it; it never ends.
pub(super) fn watch<K>(
    api: Api<WatchedObject<K>>,
    config: Config,
    wiring: WatchRules<K>,
    signals: WatchSignals,
    metrics: OperatorMetrics,
) -> (Store<WatchedObject<K>>, impl Future<Output = ()> + Send)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    K: Send + Sync + 'static,
{
    let (reader, mut writer) = store::<WatchedObject<K>>();
    let shown = reader.clone();
    let task = async move {
        let mut relisting = Relisting::new(&signals, wiring.kind);
        let again = || watch_kind(api.clone(), config.clone()).default_backoff();
        let mut stream = Box::pin(again());
        loop {
            let item = tokio::select! {
                item = stream.next() => item,
                () = relisting.due() => {
                    stream = Box::pin(again());
                    continue;
                }
            };
            let Some(item) = item else { return };
            match item {
                Ok(event) => {
                    // `Init` says only that a list is about to be asked for.
                    if !matches!(event, Event::Init) {
                        signals.succeeded(wiring.kind);
                    }
                    let event = take_in(event, &wiring, &signals);
                    let change = store_change(&event, &shown, wiring.same);
                    writer.apply_watcher_event(&event);
                    match (&event, change) {
                        (Event::InitDone, _) => signals.synced(wiring.kind, Instant::now()),
                        (_, StoreChange::Some) => signals.changed(),
                        (_, StoreChange::None) => {}
                    }
                }
                Err(error) => failed(&error, wiring.kind, &signals, &metrics),
            }
        }
    };
    (reader, task)
}

/// When policies are listed again after their definition changed. For a moment the API server still serves with the former
/// definition and prunes the new fields. A watch event from that moment lacks them, and no later event corrects it, because
/// the object's version does not change. The second list covers API servers that pick the definition up late.
const LISTED_AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// The lists that are due since the definition of policies changed; of other kinds none.
struct Relisting {
    changes: Option<Receiver<i64>>,
    pending: VecDeque<Instant>,
}

impl Relisting {
    fn new(signals: &WatchSignals, kind: WatchedKind) -> Self {
        Self {
            changes: (kind == WatchedKind::EgressPolicy).then(|| signals.definitions()),
            pending: VecDeque::new(),
        }
    }

    /// Waits for the next list that is due. May be dropped and begun again.
    async fn due(&mut self) {
        let Some(changes) = &mut self.changes else {
            return std::future::pending().await;
        };
        loop {
            let next = self.pending.front().copied();
            tokio::select! {
                Ok(()) = changes.changed() => {
                    let now = Instant::now();
                    self.pending = LISTED_AGAIN.map(|after| now + after).into();
                }
                () = until(next) => {
                    self.pending.pop_front();
                    return;
                }
            }
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

enum StoreChange {
    Some,
    None,
}

fn take_in<K>(
    event: Event<WatchedObject<K>>,
    wiring: &WatchRules<K>,
    signals: &WatchSignals,
) -> Event<WatchedObject<K>>
where
    K: Resource,
{
    if let Event::Apply(WatchedObject::Good(object)) = &event {
        (wiring.seen)(signals, object);
    }
    if let Event::InitApply(WatchedObject::Good(object)) = &event {
        (wiring.listed)(signals, object);
    }
    event.modify(|object| {
        signals.saw(wiring.kind, object.meta().resource_version.as_deref());
        object.meta_mut().managed_fields = None;
        object.modify(wiring.lean);
    })
}

fn store_change<K>(
    event: &Event<WatchedObject<K>>,
    shown: &Store<WatchedObject<K>>,
    same: fn(&WatchedObject<K>, &WatchedObject<K>) -> bool,
) -> StoreChange
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match event {
        Event::Apply(object) => {
            let before = shown.get(&ObjectRef::from_obj(object));
            if before.is_some_and(|before| same(&before, object)) {
                StoreChange::None
            } else {
                StoreChange::Some
            }
        }
        Event::Delete(_) => StoreChange::Some,
        // A list replaces the store as a whole, when it is complete.
        Event::Init | Event::InitApply(_) | Event::InitDone => StoreChange::None,
    }
}

fn failed(
    error: &watcher::Error,
    kind: WatchedKind,
    signals: &WatchSignals,
    metrics: &OperatorMetrics,
) {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    };
    metrics.watch_failed(kind, code);
    match code {
        // The history that the server keeps is over, as happens to every long watch: a new list follows.
        Some(410) => debug!(%kind, "the watch starts again with a list"),
        // The definition of the kind is gone, and its objects went before it: what the store shows is true, and whether
        // that may loosen anything is the release gate's question.
        Some(404) => {
            signals.not_served(kind, Instant::now());
            warn!(%kind, "the API server does not serve the kind");
        }
        _ => {
            signals.failed(kind, Instant::now());
            warn!(%kind, code, error = chain(error), "the watch failed and is tried again");
        }
    }
}
