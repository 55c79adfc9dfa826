//! What is published for each node, and what this process remembers of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_compile::publish::{
    DocumentChange, PublishedDocument, PublishedDocuments, PublishedState, SignedDocument,
    published_state,
};
use postern_crds::conditions::Reason;
use postern_crds::{NodeIntent, NodeIntentSpec};
use postern_intent::{ClusterDocument, NodeDocument, NodeName, Serial, TrustedKeys};
use postern_telemetry::TraceOrigin;

use super::arrivals::Arrivals;
use super::owned::{OwnWrite, ShownVersion};
use super::publish::PlannedWrite;
use super::shown_envelope::from_shown;
use crate::watches::WatchedObject;

/// The state of what is published; the form of an envelope is the spec of its object, byte for byte.
pub type IntentState<D = NodeDocument> = PublishedState<D, Arc<NodeIntentSpec>, Reason>;

/// The states of all that is published.
pub type IntentStates = PublishedDocuments<Arc<NodeIntentSpec>, Reason>;

/// What this process published, or verified as published.
#[derive(Debug)]
struct KnownIntent<D> {
    published: PublishedDocument<D, Arc<NodeIntentSpec>>,
    owned: OwnWrite,
    author: Author,
}

/// Who published an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    /// This process: no store remembers anything newer.
    Ourselves,
    /// An earlier leader, as far as the store remembers.
    Earlier,
}

/// For how long the object of an unanswered write is read; after that the write counts as not carried out.
const ASKED_FOR: Duration = Duration::from_secs(30);

/// A write that the API server may have carried out, although its answer was an error or none.
#[derive(Debug, Clone)]
struct UnansweredWrite<D> {
    spec: NodeIntentSpec,
    document: Arc<D>,
    change: DocumentChange,
    at: Instant,
}

type Opened<D> = Result<Arc<D>, Reason>;

/// What is known of all published intents; one for the whole process.
#[derive(Debug)]
pub struct KnownIntents<D = NodeDocument> {
    kept: BTreeMap<NodeName, KnownIntent<D>>,
    /// A node may report such a document before the watch shows it. Without this it would seem to know more than the
    /// store, as after a restore.
    unanswered: BTreeMap<NodeName, UnansweredWrite<D>>,
    /// Verifying is the expensive part: each version is opened once for each set of keys.
    opened: BTreeMap<NodeName, (String, Vec<String>, Opened<D>)>,
    /// What this process published in a trace and no report calls applied yet.
    pub arrivals: Arrivals<TraceOrigin>,
}

/// What is known of what this process or an earlier leader published.
#[derive(Debug, Default)]
pub struct PublishedIntents {
    /// One document for each node.
    pub nodes: KnownIntents<NodeDocument>,
    /// The document for all nodes.
    pub cluster: KnownIntents<ClusterDocument>,
}

impl PublishedIntents {
    /// This process touched the object of an intent, and nothing of its content.
    pub fn touched(&mut self, name: &NodeName, metadata: &ObjectMeta, now: Instant) {
        self.nodes.touched(name, metadata, now);
        self.cluster.touched(name, metadata, now);
    }
}

impl<D> Default for KnownIntents<D> {
    fn default() -> Self {
        Self {
            kept: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            opened: BTreeMap::new(),
            arrivals: Arrivals::default(),
        }
    }
}

impl<D: SignedDocument> KnownIntents<D> {
    /// This process wrote an intent.
    pub fn wrote(
        &mut self,
        node: NodeName,
        spec: NodeIntentSpec,
        document: Arc<D>,
        metadata: &ObjectMeta,
        change: DocumentChange,
        now: Instant,
    ) {
        self.unanswered.remove(&node);
        let version = metadata.resource_version.clone().unwrap_or_default();
        let owned = OwnWrite::new(version, now);
        let former = self.kept.get(&node).map(|kept| kept.author);
        // A republished or re-signed document keeps its author.
        let author = match change {
            DocumentChange::New => Author::Ourselves,
            DocumentChange::Republished | DocumentChange::Keys => former.unwrap_or(Author::Earlier),
        };
        let form = Arc::new(spec);
        let kept = KnownIntent {
            published: PublishedDocument { document, form },
            owned,
            author,
        };
        self.kept.insert(node, kept);
    }

    /// This process sent a write, and the API server's answer does not say whether it was carried out.
    pub fn sent_unanswered(&mut self, one: PlannedWrite<D>, now: Instant) {
        let write = UnansweredWrite {
            spec: one.object.spec,
            document: one.document,
            change: one.change,
            at: now,
        };
        self.unanswered.insert(one.node, write);
    }

    /// The intents whose objects have to be read before anything is decided.
    #[must_use]
    pub fn unanswered(&mut self, now: Instant) -> Vec<NodeName> {
        let asked =
            |write: &UnansweredWrite<D>| now.saturating_duration_since(write.at) < ASKED_FOR;
        self.unanswered.retain(|_, write| asked(write));
        self.unanswered.keys().cloned().collect()
    }

    /// The API server shows this object, or none, after a write that it has not answered.
    pub fn answered(&mut self, node: &NodeName, found: Option<NodeIntent>, now: Instant) {
        let Some(write) = self.unanswered.remove(node) else {
            return;
        };
        // The times of what was sent may be finer than those that are stored, so only the envelopes are compared.
        if let Some(found) = found.filter(|found| found.spec.envelope == write.spec.envelope) {
            let UnansweredWrite {
                document, change, ..
            } = write;
            let (spec, metadata) = (found.spec, &found.metadata);
            self.wrote(node.clone(), spec, document, metadata, change, now);
        }
    }

    /// This process touched the object of an intent, and nothing of its content.
    pub fn touched(&mut self, node: &NodeName, metadata: &ObjectMeta, now: Instant) {
        if let (Some(kept), Some(version)) = (self.kept.get_mut(node), &metadata.resource_version) {
            kept.owned = OwnWrite::new(version.clone(), now);
        }
    }

    /// The node is gone for good.
    pub fn forget(&mut self, node: &NodeName) {
        self.kept.remove(node);
        self.unanswered.remove(node);
        self.opened.remove(node);
        self.arrivals.forget(node);
    }

    /// The serial of what is published, as far as it is known.
    #[must_use]
    pub fn serial(&self, node: &NodeName) -> Option<Serial> {
        let kept = self.kept.get(node)?;
        Some(kept.published.document.serial())
    }

    /// Did this process itself publish what is in force for the node?
    #[must_use]
    pub fn is_ours(&self, node: &NodeName) -> bool {
        self.kept
            .get(node)
            .is_some_and(|kept| kept.author == Author::Ourselves)
    }

    /// Nodes for which something was published by this process.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.kept.keys()
    }

    /// The state of the intent of a node; none: the watch has not shown yet what this process wrote.
    pub fn state(
        &mut self,
        node: &NodeName,
        shown: Option<&WatchedObject<NodeIntent>>,
        keys: &TrustedKeys,
        now: Instant,
    ) -> Option<IntentState<D>> {
        let version = shown.and_then(|object| metadata(object).resource_version.clone());
        let shows = self
            .kept
            .get_mut(node)
            .map(|kept| kept.owned.look(version.as_deref(), now));
        let opened = shown.map(|object| self.open(node, object, keys));
        if shows == Some(ShownVersion::Older) {
            return None;
        }
        let kept = self.kept.get(node).map(|kept| kept.published.clone());
        let read = opened.map(|opened| {
            opened.map(|document| PublishedDocument {
                document,
                form: form(shown, kept.as_ref().map(|kept| &kept.form)),
            })
        });
        let state = published_state(read, kept);
        if let PublishedState::Current(published) = &state {
            self.adopt(node, published, version.as_deref().unwrap_or_default(), now);
        }
        Some(state)
    }

    /// A document that verifies is remembered, also one that an earlier leader published: it can be put back too.
    fn adopt(
        &mut self,
        node: &NodeName,
        published: &PublishedDocument<D, Arc<NodeIntentSpec>>,
        version: &str,
        now: Instant,
    ) {
        let known = self.kept.get(node);
        if known.is_some_and(|kept| Arc::ptr_eq(&kept.published.form, &published.form)) {
            return;
        }
        let mut owned = OwnWrite::new(version.to_owned(), now);
        owned.look(Some(version), now);
        let kept = KnownIntent {
            published: published.clone(),
            owned,
            author: Author::Earlier,
        };
        self.kept.insert(node.clone(), kept);
    }

    fn open(
        &mut self,
        node: &NodeName,
        object: &WatchedObject<NodeIntent>,
        keys: &TrustedKeys,
    ) -> Opened<D> {
        let version = metadata(object)
            .resource_version
            .clone()
            .unwrap_or_default();
        let ids: Vec<String> = keys.ids().map(ToString::to_string).collect();
        if let Some((known, by, opened)) = self.opened.get(node)
            && *known == version
            && *by == ids
        {
            return opened.clone();
        }
        let opened = match object.good() {
            Some(intent) => open(node, &intent.spec, keys).map(Arc::new),
            None => Err(Reason::Malformed),
        };
        self.opened
            .insert(node.clone(), (version, ids, opened.clone()));
        opened
    }
}

/// The spec that an object shows; where it is the known one, that one.
fn form(
    shown: Option<&WatchedObject<NodeIntent>>,
    known: Option<&Arc<NodeIntentSpec>>,
) -> Arc<NodeIntentSpec> {
    let spec = shown
        .and_then(WatchedObject::good)
        .map(|object| &object.spec);
    let same = known.filter(|known| spec == Some(&***known));
    same.map_or_else(|| Arc::new(spec.cloned().unwrap_or_default()), Arc::clone)
}

fn metadata(object: &WatchedObject<NodeIntent>) -> &ObjectMeta {
    kube::Resource::meta(object)
}

/// Opens an envelope of our own. The printable copies have to say the same, since people go by them.
fn open<D: SignedDocument>(
    name: &NodeName,
    spec: &NodeIntentSpec,
    keys: &TrustedKeys,
) -> Result<D, Reason> {
    let Some(shown) = &spec.envelope else {
        return Err(Reason::NoIntent);
    };
    let envelope = from_shown(shown).ok_or(Reason::Malformed)?;
    let document = D::open(name, &envelope, keys)
        .map_err(|refusal| Reason::parse(refusal.reason()).unwrap_or(Reason::Malformed))?;
    let copies = spec.serial == document.serial().0
        && spec.node_uid == document.node_uid()
        && spec.not_after.as_ref().map(|time| time.0.as_second())
            == Some(document.not_after().as_second());
    copies.then_some(document).ok_or(Reason::Inconsistent)
}
