//! The watch of this node's own NodeIntent. RBAC cannot say "own": the selector and a look at the name do.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use postern_crds::NodeIntent;
use postern_intent::NodeName;
use tokio::sync::watch;

use super::documents;
use super::error::ApiError;
use super::line::Line;
use super::pace::{Pace, Wait};
use super::way::Way;

/// The server ends a watch after this many seconds, and a watch that is silent for a little longer is dead.
const WATCH_SECONDS: u32 = 240;

/// The watch, and what it saw.
pub(super) struct Intents {
    pub(super) way: Way,
    pub(super) node: NodeName,
    pub(super) inbox: PathBuf,
    pub(super) line: Arc<Line>,
    /// Changes when somebody else found the way to the API server broken: a watch would not notice for minutes.
    pub(super) broken: watch::Receiver<u64>,
}

/// Brings documents until the agent ends.
pub(super) async fn run(mut intents: Intents) {
    let mut pace = Pace::default();
    let mut desk = Desk::new(&intents);
    loop {
        let ended = match intents.way.connect(&intents.line).await {
            Ok(client) => intents.follow(client, &mut desk, &mut pace).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            intents.line.failed(&error);
            intents.line.pause(&mut pace, Wait::Short).await;
        }
    }
}

impl Intents {
    /// Follows the watch until a new client is needed: the token was refused, a document could not be put down, or the
    /// way is broken.
    async fn follow(
        &mut self,
        client: Client,
        desk: &mut Desk,
        pace: &mut Pace,
    ) -> Result<(), ApiError> {
        // An untyped object: a NodeIntent that does not fit its type must not end the watch.
        let kind = ApiResource::erase::<NodeIntent>(&());
        let api: Api<DynamicObject> = Api::all_with(client, &kind);
        let config = watcher::Config::default()
            .fields(&format!("metadata.name={}", self.node))
            .timeout(WATCH_SECONDS);
        let mut events = pin!(watcher(api, config));
        self.broken.mark_unchanged();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                changed = self.broken.changed() => {
                    // The other side goes away only when the agent ends, and then the event alone is waited for.
                    if changed.is_err() { events.next().await } else { return Ok(()) }
                }
            };
            match event.transpose().map_err(ApiError::of_watch) {
                Ok(Some(event)) => {
                    if desk.take(event).map_err(ApiError::Inbox)? {
                        pace.reset();
                    }
                }
                Ok(None) => return Ok(()),
                // The version is too old to go on from it: the watcher lists again by itself.
                Err(error) if error.code() == Some(410) => {
                    self.line.numbers().failed("intents", error.word());
                    self.line.pause(pace, Wait::Short).await;
                }
                Err(error) if error.code() == Some(401) => return Err(error),
                Err(error) => {
                    self.line.failed(&error);
                    self.line.pause(pace, Wait::Short).await;
                }
            }
        }
    }
}

/// What is made of the watch's events.
struct Desk {
    node: String,
    inbox: PathBuf,
    line: Arc<Line>,
    /// NodeIntents of ours in the list that is being read.
    listed: usize,
    /// NodeIntents of ours when that was last told.
    told: Option<usize>,
}

impl Desk {
    fn new(intents: &Intents) -> Self {
        Self {
            node: intents.node.to_string(),
            inbox: intents.inbox.clone(),
            line: Arc::clone(&intents.line),
            listed: 0,
            told: None,
        }
    }

    /// Takes an event, and says whether it shows that the API server serves us.
    fn take(&mut self, event: Event<DynamicObject>) -> Result<bool, crate::files::FileError> {
        match event {
            Event::Init => {
                self.listed = 0;
                return Ok(false);
            }
            Event::InitApply(object) => self.listed += self.put(&object)?,
            Event::InitDone => self.tell(self.listed),
            Event::Apply(object) => {
                let there = self.put(&object)?;
                self.tell(there);
            }
            Event::Delete(object) if self.is_ours(&object) => self.tell(0),
            Event::Delete(_) => {}
        }
        self.line.works();
        Ok(true)
    }

    fn is_ours(&self, object: &DynamicObject) -> bool {
        object.metadata.name.as_deref() == Some(&self.node)
    }

    /// Puts down what a NodeIntent of ours says; the number of them that this was.
    fn put(&self, object: &DynamicObject) -> Result<usize, crate::files::FileError> {
        if !self.is_ours(object) {
            return Ok(0);
        }
        for document in documents::of(&object.data).deliver(&self.inbox)? {
            tracing::info!(document = document.file(), "a document was delivered");
            self.line.numbers().delivered(document.file());
        }
        Ok(1)
    }

    /// A NodeIntent that went takes nothing with it: what was delivered and verified stays in force.
    fn tell(&mut self, there: usize) {
        self.line.numbers().gone(there);
        if self.told.replace(there) == Some(there) {
            return;
        }
        if there == 0 {
            tracing::warn!(
                "the API server has no NodeIntent for this node; what is in force stays"
            );
        } else {
            tracing::info!("the API server has a NodeIntent for this node");
        }
    }
}
