//! Which intents are written, from a compilation and what is published. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome};
use postern_crds::NodeIntentSpec;
use postern_crds::node_intent::KeySet as ShownKeySet;
use postern_intent::verify::verify_key_set;
use postern_intent::{ClusterDocument, NodeDocument, NodeName, TrustedKeys};
use tracing::info_span;

use super::plan::{IntentChange, PlannedWrite, plan};
use super::sign::{announce, resigned, spec};
use crate::metrics::{Metrics, gauge};
use crate::pipeline::error::PipelineError;
use crate::pipeline::intents::IntentState;
use crate::pipeline::round::{Round, cluster_intent};
use crate::pipeline::shown_envelope::from_shown;
use crate::pipeline::signed::SignedDocument;
use crate::signer::{AnnouncedKeys, KeyRing, Rotation, rotate};
use crate::watches::WatchedStores;

/// What the writes are planned from.
pub(super) struct Planning<'a> {
    pub(super) stores: &'a WatchedStores,
    pub(super) metrics: &'a Metrics,
    pub(super) round: &'a Round,
}

/// What keys mean for the writes of this run.
struct Keys {
    ring: Arc<KeyRing>,
    /// The key set that stands in every intent from now on.
    shown: Option<ShownKeySet>,
}

/// Every write of this run, the cluster document's first.
pub(super) struct PlannedWrites {
    pub(super) cluster: Option<PlannedWrite<ClusterDocument>>,
    pub(super) nodes: Vec<PlannedWrite<NodeDocument>>,
}

/// Plans every write of intents.
pub(super) fn plan_all(
    planning: &Planning<'_>,
    compilation: &Compilation,
) -> Result<PlannedWrites, PipelineError> {
    let _span = info_span!("sign").entered();
    let round = planning.round;
    let keys = keys(round, planning.metrics)?;
    let name = cluster_intent();
    let one = match &compilation.cluster {
        ClusterOutcome::Publish(document) => Some(new(&name, (**document).clone(), &keys)?),
        ClusterOutcome::Keep => kept(&name, Some(&round.cluster_state), &keys)?,
    };
    let cluster = one.map(|one| planning.planned(&name, one));
    let mut nodes = Vec::new();
    for (node, outcome) in &compilation.nodes {
        let standing = round.intent_states.get(node);
        let one = match outcome {
            NodeOutcome::Restored | NodeOutcome::Awaited => None,
            NodeOutcome::Publish(document) => {
                let mut document = (**document).clone();
                document.trace_id = postern_telemetry::trace_id();
                Some(new(node, document, &keys)?)
            }
            NodeOutcome::Keep => kept(node, standing, &keys)?,
        };
        nodes.extend(one.map(|one| planning.planned(node, one)));
    }
    Ok(PlannedWrites { cluster, nodes })
}

type One<D> = (NodeIntentSpec, Arc<D>, IntentChange);

impl Planning<'_> {
    fn planned<D>(&self, name: &NodeName, (spec, body, change): One<D>) -> PlannedWrite<D> {
        let shown = self.stores.intents.get(&ObjectRef::new(name.as_str()));
        plan(name, spec, body, shown.as_deref(), self.round.epoch, change)
    }
}

fn new<D: SignedDocument>(
    name: &NodeName,
    document: D,
    keys: &Keys,
) -> Result<One<D>, PipelineError> {
    let signed =
        spec(&document, &keys.ring, keys.shown.clone()).map_err(|source| refuse(name, source))?;
    Ok((signed, Arc::new(document), IntentChange::New))
}

/// What stays is written only where it is lost, or where it does not carry the key set yet, whenever that was made: the
/// write that was to bring it may have failed.
fn kept<D: SignedDocument>(
    name: &NodeName,
    standing: Option<&IntentState<D>>,
    keys: &Keys,
) -> Result<Option<One<D>>, PipelineError> {
    match standing {
        Some(IntentState::Lost { kept, .. }) => Ok(Some((
            kept.spec.clone(),
            Arc::clone(&kept.body),
            IntentChange::Republished,
        ))),
        Some(IntentState::Current { body, spec }) if lacks(spec, keys) => {
            let signed = resigned::<D>(spec, &keys.ring, keys.shown.clone())
                .map_err(|source| refuse(name, source))?;
            Ok(signed.map(|spec| (spec, Arc::clone(body), IntentChange::Keys)))
        }
        _ => Ok(None),
    }
}

fn lacks(spec: &NodeIntentSpec, keys: &Keys) -> bool {
    keys.shown.is_some() && spec.key_set != keys.shown
}

fn refuse(node: &NodeName, source: postern_intent::sign::SignError) -> PipelineError {
    PipelineError::Sign {
        node: node.to_string(),
        source,
    }
}

fn keys(round: &Round, metrics: &Metrics) -> Result<Keys, PipelineError> {
    let there = newest_key_set(round);
    let ring = &round.signing.ring;
    let secret = ring.public().keys().cloned().collect();
    let announced = there
        .as_ref()
        .map(|(_, announced)| announced.clone())
        .unwrap_or_default();
    let trust = &round.world.inputs.trust;
    let Rotation {
        announce: next,
        dropped,
        waiting,
    } = rotate(&secret, &round.signing.retiring, &announced, trust);
    if !waiting.is_empty() {
        tracing::warn!(nodes = ?waiting, "a retiring key waits for nodes that do not trust the others yet");
    }
    let kept = ring.without(&dropped).map_err(PipelineError::Key)?;
    let shown = match &next {
        // Signed by every key so far: a node trusts one of them.
        Some(set) => Some(announce(set, ring).map_err(|source| PipelineError::Sign {
            node: "every node".to_owned(),
            source,
        })?),
        None => there.map(|(shown, _)| shown),
    };
    metrics.keys_waiting.set(gauge(waiting.len()));
    Ok(Keys {
        ring: if dropped.is_empty() {
            Arc::clone(ring)
        } else {
            Arc::new(kept)
        },
        shown,
    })
}

/// The newest key set that stands in an intent of ours and that a key of ours signed: the intent's own signature does
/// not cover it.
fn newest_key_set(round: &Round) -> Option<(ShownKeySet, AnnouncedKeys)> {
    let sets = round
        .intent_states
        .values()
        .filter_map(|standing| match standing {
            IntentState::Current { spec, .. } => spec.key_set.as_ref(),
            IntentState::Lost { kept, .. } => kept.spec.key_set.as_ref(),
            IntentState::Absent | IntentState::Lagging | IntentState::Tampered { .. } => None,
        });
    let mut sets: Vec<&ShownKeySet> = sets.collect();
    sets.sort_by_key(|set| Reverse(set.version));
    sets.dedup();
    sets.into_iter()
        .find_map(|set| Some((set.clone(), announced(set, round.signing.ring.trust())?)))
}

fn announced(set: &ShownKeySet, trust: &TrustedKeys) -> Option<AnnouncedKeys> {
    let envelope = from_shown(&set.envelope)?;
    let verified = verify_key_set(&envelope, trust).ok()?;
    let keys = verified.get();
    (keys.version() == set.version).then(|| AnnouncedKeys {
        version: set.version,
        keys: keys.ids().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use postern_intent::{NodeDocument, NodeName};

    use super::{IntentChange, Keys, ShownKeySet, announce, announced, kept, spec};
    use crate::pipeline::intents::IntentState;
    use crate::signer::{AnnouncedKeys, KeyRing};

    fn ring(seed: u8) -> KeyRing {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let pem = key.to_pkcs8_pem(LineEnding::LF).expect("a PEM");
        KeyRing::read([("key.pem", pem.as_bytes())]).expect("a ring")
    }

    fn set(version: u64, ring: &KeyRing) -> ShownKeySet {
        let keys = ring.public().keys().cloned().collect();
        announce(&AnnouncedKeys { version, keys }, ring).expect("a key set")
    }

    fn name() -> NodeName {
        "n1".parse().expect("a name")
    }

    fn body() -> NodeDocument {
        let document = serde_json::json!({
            "version": postern_intent::body::FORMAT_VERSION,
            "node": { "name": "n1", "uid": "u1" },
            "serial": 5,
            "issuedAt": "2026-01-01T00:00:00Z",
            "notAfter": "2026-01-02T00:00:00Z",
            "clusterSerial": 1, "localPodRanges": [], "localAddresses": [],
            "tunnels": [],
            "routes": [],
            "nat": [],
            "firewall": [],
            "pods": [],
            "allocations": [],
        });
        serde_json::from_value(document).expect("a body")
    }

    /// The key set that an intent which says nothing new is written with, if it is written at all.
    fn written(has: Option<ShownKeySet>, shown: Option<ShownKeySet>) -> Option<ShownKeySet> {
        let (ring, body) = (Arc::new(ring(1)), body());
        let standing = IntentState::Current {
            spec: Box::new(spec(&body, &ring, has).expect("a spec")),
            body: Arc::new(body),
        };
        let keys = Keys { ring, shown };
        let found = kept(&name(), Some(&standing), &keys).expect("a signature");
        found.map(|(spec, _, change)| {
            assert_eq!(change, IntentChange::Keys);
            spec.key_set.expect("a key set")
        })
    }

    #[test]
    fn an_intent_that_missed_the_key_set_gets_it_in_whichever_run_finds_that_out() {
        let ring = ring(1);
        let (old, new) = (set(1, &ring), set(2, &ring));
        assert_eq!(written(None, Some(new.clone())), Some(new.clone()));
        assert_eq!(written(Some(old), Some(new.clone())), Some(new.clone()));
        assert_eq!(written(Some(new.clone()), Some(new)), None);
    }

    #[test]
    fn no_intent_is_written_for_keys_while_none_were_announced() {
        assert_eq!(written(None, None), None);
        assert_eq!(written(Some(set(1, &ring(1))), None), None);
    }

    #[test]
    fn a_key_set_that_no_key_of_ours_signed_is_not_spread() {
        let ours = ring(1);
        assert!(announced(&set(2, &ours), ours.trust()).is_some());
        assert_eq!(announced(&set(9, &ring(7)), ours.trust()), None);
        let raised = ShownKeySet {
            version: 9,
            ..set(2, &ours)
        };
        assert_eq!(announced(&raised, ours.trust()), None);
    }
}
