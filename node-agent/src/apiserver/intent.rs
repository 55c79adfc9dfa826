//! The watches of two NodeIntents: this node's own, and the one for all nodes. RBAC cannot say "own": the selector and a
//! look at the name do.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::{ListParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, WatchEvent};
use kube::{Api, Client, ResourceExt as _};
use postern_apiserver::{Endpoint, Pace};
use postern_crds::NodeIntent;
use postern_crds::names::EPOCH_ANNOTATION;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::client::{connect, in_time};
use super::documents::{self, DocumentSender, IntentKind};
use super::error::AgentApiError;
use super::health::{ApiHealth, ApiWait, pace};
use crate::agent::NodeUpdate;

/// The server ends a watch after this many seconds.
const WATCH_SECONDS: u32 = 240;

/// A watch that has not ended by then hangs on a connection that nobody answers by.
const DEAD: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// A watch that goes on for so long works. After one that ends sooner the next one begins later each time.
const WATCH_WORKS: Duration = Duration::from_secs(10);

/// The watch of one NodeIntent.
pub(super) struct IntentWatch {
    pub(super) endpoint: Endpoint,
    pub(super) kind: IntentKind,
    /// The name of the NodeIntent.
    pub(super) name: String,
    pub(super) documents: DocumentSender,
    pub(super) health: Arc<ApiHealth>,
    /// Gets an entry when a new term of the operator begins.
    pub(super) updates: mpsc::Sender<NodeUpdate>,
    /// Changes when somebody else found the connection to the API server broken: a watch would not notice for minutes.
    pub(super) broken: watch::Receiver<u64>,
}

/// Delivers documents until the agent ends.
pub(super) async fn run(mut intents: IntentWatch) {
    let mut pace = pace();
    let mut delivery = IntentDelivery::new(&intents);
    loop {
        let ended = match connect(&intents.endpoint, &intents.health).await {
            Ok(client) => intents.follow(client, &mut delivery, &mut pace).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            intents.health.failed(&error);
            intents.health.pause(&mut pace, ApiWait::Short).await;
        }
    }
}

impl IntentWatch {
    /// Reads a list and follows it by a watch, until the watch ends, something fails or the way is found broken. Whatever
    /// ended it, a new list comes next, and never a watch from the old one's version: after the store was set back to an
    /// older state that version lies in the future, and a watch from there would stay silent. That is why the client's own
    /// watcher is not used, which goes on from its last version when a watch ends in peace.
    async fn follow(
        &mut self,
        client: Client,
        delivery: &mut IntentDelivery,
        pace: &mut Pace,
    ) -> Result<(), AgentApiError> {
        // An untyped object: a NodeIntent that does not fit its type must not end the watch.
        let kind = ApiResource::erase::<NodeIntent>(&());
        let api: Api<DynamicObject> = Api::all_with(client, &kind);
        let own = format!("metadata.name={}", self.name);
        self.broken.mark_unchanged();
        let list = in_time(api.list(&ListParams::default().fields(&own))).await?;
        delivery.read(&list.items);
        let version = list.metadata.resource_version.unwrap_or_default();
        if version.is_empty() {
            return Err(AgentApiError::NoVersion);
        }
        let watch = WatchParams::default().fields(&own).timeout(WATCH_SECONDS);
        let events = in_time(api.watch(&watch, &version)).await?;
        self.read(pin!(events), delivery, pace).await?;
        // All nodes' watches end together when an API server does: they do not come back all at once.
        self.health.pause(pace, ApiWait::Short).await;
        Ok(())
    }

    /// Takes events until there are no more.
    async fn read(
        &mut self,
        mut events: Pin<&mut impl Stream<Item = kube::Result<WatchEvent<DynamicObject>>>>,
        delivery: &mut IntentDelivery,
        pace: &mut Pace,
    ) -> Result<(), AgentApiError> {
        let (mut works, mut dead) = (pin!(sleep(WATCH_WORKS)), pin!(sleep(DEAD)));
        let mut phase = WatchPhase::Started;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                // The other side goes away only when the agent ends.
                Ok(()) = self.broken.changed() => return Ok(()),
                () = &mut dead => return Ok(()),
                () = &mut works, if phase == WatchPhase::Started => {
                    phase = WatchPhase::Working;
                    self.health.works();
                    pace.succeeded();
                    continue;
                }
            };
            match event.transpose()? {
                None => return Ok(()),
                // The version is too old to go on from: part of every watch's life, and no trouble.
                Some(WatchEvent::Error(status)) if status.code == 410 => {
                    let error = AgentApiError::from(*status);
                    self.health.count(error.word());
                    return Ok(());
                }
                Some(WatchEvent::Error(status)) => return Err(AgentApiError::from(*status)),
                Some(event) => {
                    if delivery.take(&event) == WatchProgress::Change {
                        self.health.works();
                        pace.succeeded();
                    }
                }
            }
        }
    }
}

/// How far a watch is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WatchPhase {
    /// It may still fail at once.
    Started,
    /// It has gone on for [`WATCH_WORKS`].
    Working,
}

/// What an event of the watch is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WatchProgress {
    /// Nothing about a NodeIntent.
    Nothing,
    /// Something arrived, so that the watch works.
    Change,
}

/// What is made of the watch's events.
struct IntentDelivery {
    kind: IntentKind,
    name: String,
    documents: DocumentSender,
    health: Arc<ApiHealth>,
    /// How many NodeIntents of this node there were when that was last logged.
    logged: Option<usize>,
    /// The last term of the operator that was passed on to the agent.
    epoch: Option<String>,
    updates: mpsc::Sender<NodeUpdate>,
}

impl IntentDelivery {
    fn new(intents: &IntentWatch) -> Self {
        Self {
            kind: intents.kind,
            name: intents.name.clone(),
            documents: intents.documents.clone(),
            health: Arc::clone(&intents.health),
            logged: None,
            epoch: None,
            updates: intents.updates.clone(),
        }
    }

    fn read(&mut self, listed: &[DynamicObject]) {
        let there = listed.iter().map(|object| self.put(object)).sum();
        self.tell(there);
    }

    fn take(&mut self, event: &WatchEvent<DynamicObject>) -> WatchProgress {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                if self.put(object) > 0 {
                    self.tell(1);
                }
            }
            WatchEvent::Deleted(object) => {
                if self.is_ours(object) {
                    self.tell(0);
                }
            }
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return WatchProgress::Nothing,
        }
        WatchProgress::Change
    }

    fn is_ours(&self, object: &DynamicObject) -> bool {
        object.metadata.name.as_deref() == Some(&self.name)
    }

    /// Sends the documents of a NodeIntent of ours; the number of them that this was.
    fn put(&mut self, object: &DynamicObject) -> usize {
        if !self.is_ours(object) {
            return 0;
        }
        for document in self.documents.send(&documents::of(self.kind, &object.data)) {
            tracing::info!(document = document.file(), "a document was delivered");
            self.health.metrics().delivered(document.file());
        }
        if self.kind == IntentKind::Node {
            self.note_epoch(object);
        }
        1
    }

    /// A new leader waits for this node's word before it publishes anything for it.
    fn note_epoch(&mut self, object: &DynamicObject) {
        let epoch = object.annotations().get(EPOCH_ANNOTATION);
        if epoch.is_none() || epoch == self.epoch.as_ref() {
            return;
        }
        // The agent is busy: the next event of the object passes the term on, and a report comes every minute anyway.
        if self.updates.try_send(NodeUpdate::Asked).is_ok() {
            self.epoch = epoch.cloned();
        }
    }

    /// A NodeIntent that went takes nothing with it: what was delivered and verified stays in force.
    fn tell(&mut self, there: usize) {
        if self.kind == IntentKind::Node {
            self.health.metrics().gone(there);
        }
        if self.logged.replace(there) == Some(there) {
            return;
        }
        let name = &self.name;
        if there == 0 {
            tracing::warn!(
                name,
                "the API server has no such NodeIntent; what is in force stays"
            );
        } else {
            tracing::info!(name, "the API server has the NodeIntent");
        }
    }
}
