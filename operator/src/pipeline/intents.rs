//! What is published for each node, and what this process remembers of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_crds::conditions::Reason;
use postern_crds::{NodeIntent, NodeIntentSpec};
use postern_intent::verify::{Context, Refusal, verify_intent};
use postern_intent::{Body, KeySet, NodeName, envelope};
use postern_telemetry::Origin;

use super::arrivals::Arrivals;
use super::owned::{OwnWrite, ShownVersion};
use super::shown_envelope::from_shown;
use crate::watches::Tolerant;

/// What this process published, or verified as published.
#[derive(Debug, Clone)]
pub struct KnownIntent {
    /// The object's spec, byte for byte.
    pub spec: NodeIntentSpec,
    /// What the envelope says.
    pub body: Arc<Body>,
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

/// How the published intent of a node stands.
#[derive(Debug, Clone)]
pub enum IntentState {
    /// It is there and verifies.
    Current {
        body: Arc<Body>,
        spec: Box<NodeIntentSpec>,
    },
    /// Nothing was ever published.
    Absent,
    /// The watch has not shown yet what this process wrote: wait for it.
    Lagging,
    /// It is gone, or was changed, while the one who published it lives: the same bytes are published again.
    Lost {
        kept: Box<KnownIntent>,
        why: IntentLoss,
    },
    /// There is something that does not verify, and nobody remembers what was there.
    Tampered {
        /// Why it does not verify.
        why: Reason,
    },
}

/// Why an intent has to be published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentLoss {
    Deleted,
    Changed(Reason),
    /// Somebody put an older one in its place.
    Older,
}

type Opened = Result<Arc<Body>, Reason>;

/// What is known of all published intents; one for the whole process.
#[derive(Debug, Default)]
pub struct Intents {
    kept: BTreeMap<NodeName, KnownIntent>,
    /// Verifying is the expensive part: each version is opened once for each set of keys.
    opened: BTreeMap<NodeName, (String, Vec<String>, Opened)>,
    /// What this process published in a trace and no report calls applied yet.
    pub arrivals: Arrivals<Origin>,
}

impl Intents {
    /// This process wrote an intent.
    pub fn wrote(
        &mut self,
        node: NodeName,
        spec: NodeIntentSpec,
        body: Arc<Body>,
        metadata: &ObjectMeta,
        now: Instant,
    ) {
        let version = metadata.resource_version.clone().unwrap_or_default();
        let owned = OwnWrite::new(version, now);
        let kept = KnownIntent {
            spec,
            body,
            owned,
            author: Author::Ourselves,
        };
        self.kept.insert(node, kept);
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
        self.opened.remove(node);
        self.arrivals.forget(node);
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

    /// How the intent of a node stands.
    pub fn state(
        &mut self,
        node: &NodeName,
        shown: Option<&Tolerant<NodeIntent>>,
        keys: &KeySet,
        now: Instant,
    ) -> IntentState {
        let version = shown.and_then(|object| metadata(object).resource_version.clone());
        let shows = self
            .kept
            .get_mut(node)
            .map(|kept| kept.owned.look(version.as_deref(), now));
        let opened = shown.map(|object| self.open(node, object, keys));
        let kept = self.kept.get(node);
        match (opened, shows, kept) {
            (_, Some(ShownVersion::Older), _) => IntentState::Lagging,
            (None, _, None) => IntentState::Absent,
            (None, _, Some(kept)) => lost(kept, IntentLoss::Deleted),
            (Some(Ok(body)), _, Some(kept)) if body.serial < kept.body.serial => {
                lost(kept, IntentLoss::Older)
            }
            (Some(Ok(body)), _, _) => {
                let spec = self.adopt(node, shown, &body, now);
                IntentState::Current { body, spec }
            }
            (Some(Err(why)), _, Some(kept)) => lost(kept, IntentLoss::Changed(why)),
            (Some(Err(why)), _, None) => IntentState::Tampered { why },
        }
    }

    /// What verifies is remembered, whoever published it: an earlier leader's intent can be put back too.
    fn adopt(
        &mut self,
        node: &NodeName,
        shown: Option<&Tolerant<NodeIntent>>,
        body: &Arc<Body>,
        now: Instant,
    ) -> Box<NodeIntentSpec> {
        let Some(object) = shown.and_then(Tolerant::good) else {
            return Box::default();
        };
        let same = self
            .kept
            .get(node)
            .is_some_and(|kept| kept.spec == object.spec);
        if !same {
            let version = object.metadata.resource_version.clone().unwrap_or_default();
            let mut owned = OwnWrite::new(version.clone(), now);
            owned.look(Some(&version), now);
            let kept = KnownIntent {
                spec: object.spec.clone(),
                body: Arc::clone(body),
                owned,
                author: Author::Earlier,
            };
            self.kept.insert(node.clone(), kept);
        }
        Box::new(object.spec.clone())
    }

    fn open(&mut self, node: &NodeName, object: &Tolerant<NodeIntent>, keys: &KeySet) -> Opened {
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

fn lost(kept: &KnownIntent, why: IntentLoss) -> IntentState {
    IntentState::Lost {
        kept: Box::new(kept.clone()),
        why,
    }
}

fn metadata(object: &Tolerant<NodeIntent>) -> &ObjectMeta {
    kube::Resource::meta(object)
}

/// Opens an envelope of our own, expired ones too: the question is what was said, not whether it is still in force.
/// The printable copies have to say the same, since people go by them.
fn open(node: &NodeName, spec: &NodeIntentSpec, keys: &KeySet) -> Result<Body, Reason> {
    let Some(shown) = &spec.envelope else {
        return Err(Reason::NoIntent);
    };
    let envelope = from_shown(shown).ok_or(Reason::Malformed)?;
    let packed = envelope.payload_bytes().map_err(|_| Reason::BadPayload)?;
    let json = envelope::unpack(&packed).map_err(|_| Reason::BadPayload)?;
    let said: Body = serde_json::from_slice(&json).map_err(|_| Reason::NotUnderstood)?;
    let context = Context {
        node: &said.node,
        keys,
        now: said.issued_at,
        last: None,
    };
    let verified = verify_intent(&envelope, &context).map_err(|refusal| reason(&refusal))?;
    let body = verified.get();
    if body.node.name != *node {
        return Err(Reason::WrongNode);
    }
    let copies = spec.serial == body.serial.0
        && spec.node_uid == body.node.uid.as_str()
        && spec.not_after.as_ref().map(|time| time.0.as_second())
            == Some(body.not_after.as_second());
    copies.then(|| body.clone()).ok_or(Reason::Inconsistent)
}

/// The reason of a refusal, as conditions and Events name it.
fn reason(refusal: &Refusal) -> Reason {
    Reason::parse(refusal.reason()).unwrap_or(Reason::Malformed)
}
