//! From a compilation to the writes that follow from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use postern_compile::{Compilation, NodeOutcome};
use postern_crds::NodeIntentSpec;
use postern_crds::node_intent::KeySet as ShownKeySet;
use postern_intent::{Body, NodeName};
use serde_json::Value;
use tracing::info_span;

use super::error::PipelineError;
use super::intents::Standing;
use super::publish::{
    Change, Chores, Planned, There, announce, chores as find_chores, plan, resigned, spec,
    without_taint,
};
use super::run::{Pipeline, Round};
use crate::controllers::{Stores, Tolerant};
use crate::signer::{Announced, KeyRing, Rotation, rotate};

/// What keys mean for the writes of this run.
struct Keys {
    ring: Arc<KeyRing>,
    /// The key set that stands in every intent from now on.
    shown: Option<ShownKeySet>,
    /// Whether it is new, so that intents which say nothing new are written too.
    news: News,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Yes,
    No,
}

/// Plans every write of intents.
pub(super) fn plan_all(
    pipeline: &mut Pipeline,
    round: &Round,
    compilation: &Compilation,
) -> Result<Vec<Planned>, PipelineError> {
    let _span = info_span!("sign").entered();
    let keys = keys(pipeline, round)?;
    let mut planned = Vec::new();
    for (node, outcome) in &compilation.nodes {
        let standing = round.standings.get(node);
        let one = match outcome {
            NodeOutcome::Restored => None,
            NodeOutcome::Publish(_) if round.world.awaited.contains(node) => None,
            NodeOutcome::Publish(body) => Some(new(node, body, &keys)?),
            NodeOutcome::Keep => kept(node, standing, &keys)?,
        };
        let Some((spec, body, change)) = one else {
            continue;
        };
        let shown = pipeline
            .parts
            .stores
            .intents
            .get(&ObjectRef::new(node.as_str()));
        planned.push(plan(
            node,
            spec,
            body,
            shown.as_deref(),
            round.epoch,
            change,
        ));
    }
    Ok(planned)
}

type One = (NodeIntentSpec, Arc<Body>, Change);

fn new(node: &NodeName, body: &Body, keys: &Keys) -> Result<One, PipelineError> {
    let mut body = body.clone();
    body.trace_id = postern_telemetry::trace_id();
    let signed =
        spec(&body, &keys.ring, keys.shown.clone()).map_err(|source| refuse(node, source))?;
    Ok((signed, Arc::new(body), Change::New))
}

/// What stays is written only where it is lost, or where the keys changed.
fn kept(
    node: &NodeName,
    standing: Option<&Standing>,
    keys: &Keys,
) -> Result<Option<One>, PipelineError> {
    match standing {
        Some(Standing::Lost { kept, .. }) => Ok(Some((
            kept.spec.clone(),
            Arc::clone(&kept.body),
            Change::Republished,
        ))),
        Some(Standing::Current { body, spec }) if keys.news == News::Yes => {
            let signed = resigned(spec, &keys.ring, keys.shown.clone())
                .map_err(|source| refuse(node, source))?;
            Ok(signed.map(|spec| (spec, Arc::clone(body), Change::Keys)))
        }
        _ => Ok(None),
    }
}

fn refuse(node: &NodeName, source: postern_intent::sign::SignError) -> PipelineError {
    PipelineError::Sign {
        node: node.to_string(),
        source,
    }
}

fn keys(pipeline: &Pipeline, round: &Round) -> Result<Keys, PipelineError> {
    let there = newest_key_set(round);
    let ring = &round.signing.ring;
    let secret = ring.public().keys().cloned().collect();
    let announced = there.as_ref().map(announced).unwrap_or_default();
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
        None => there,
    };
    pipeline
        .parts
        .metrics
        .keys_waiting
        .set(crate::metrics::gauge(waiting.len()));
    Ok(Keys {
        ring: if dropped.is_empty() {
            Arc::clone(ring)
        } else {
            Arc::new(kept)
        },
        shown,
        news: if next.is_some() { News::Yes } else { News::No },
    })
}

/// The newest key set that stands in an intent of ours.
fn newest_key_set(round: &Round) -> Option<ShownKeySet> {
    let sets = round
        .standings
        .values()
        .filter_map(|standing| match standing {
            Standing::Current { spec, .. } => spec.key_set.as_ref(),
            Standing::Lost { kept, .. } => kept.spec.key_set.as_ref(),
            Standing::Absent | Standing::Lagging | Standing::Tampered { .. } => None,
        });
    sets.max_by_key(|set| set.version).cloned()
}

fn announced(set: &ShownKeySet) -> Announced {
    let document = super::intents::from_shown(&set.envelope)
        .and_then(|envelope| envelope.payload_bytes().ok())
        .and_then(|json| serde_json::from_slice(&json).ok());
    let keys = document
        .and_then(|document| postern_intent::KeySet::from_document(&document).ok())
        .map(|keys| keys.ids().cloned().collect())
        .unwrap_or_default();
    Announced {
        version: set.version,
        keys,
    }
}

/// What is to be done beside the intents.
pub(super) fn chores(stores: &Stores, round: &Round, compilation: &Compilation) -> Chores {
    let reports = stores.reports.state();
    let reports = reports.iter().map(|object| {
        let node_uid = object.good().map(|report| report.spec.node_uid.clone());
        there(&**object, node_uid)
    });
    let intents = stores.intents.state();
    let intents = intents.iter().map(|object| {
        let node_uid = object.good().map(|intent| intent.spec.node_uid.clone());
        there(&**object, node_uid)
    });
    let (reports, intents): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (reports.collect(), intents.collect());
    Chores {
        untaint: untaint(stores, round),
        ..find_chores(
            &round.world.inputs.nodes,
            &reports,
            &intents,
            &compilation.retired,
        )
    }
}

/// Joining nodes whose report says that the guard is in place. A report that is older than this process may be what a
/// restored store remembers, and the node may have been made anew.
fn untaint(stores: &Stores, round: &Round) -> Vec<(String, Value)> {
    let nodes = stores.nodes.state();
    let tainted = nodes.iter().filter_map(|object| object.good());
    tainted
        .filter_map(|node| {
            let name: NodeName = node.name_any().parse().ok()?;
            let own = round.world.inputs.reports.iter().any(|report| {
                report.node == name && Some(report.uid.as_str()) == node.metadata.uid.as_deref()
            });
            let sealed = own
                && round.world.inputs.sealed.contains(&name)
                && !round.world.awaited.contains(&name);
            let taints = node.spec.as_ref()?.taints.as_deref()?;
            sealed
                .then(|| without_taint(taints))
                .flatten()
                .map(|change| (name.to_string(), change))
        })
        .collect()
}

fn there<K: Resource>(object: &Tolerant<K>, node_uid: Option<String>) -> (String, There) {
    let there = There {
        uid: object.uid(),
        version: object.resource_version(),
        node_uid,
    };
    (object.name_any(), there)
}
