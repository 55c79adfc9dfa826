//! The step that keeps stale leaders out, before anything is read: every published intent carries the epoch of this leader
//! before it compiles.

use std::sync::Arc;
use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource as _, ResourceExt as _};
use postern_apiserver::ApiVerb;
use postern_crds::NodeIntent;
use postern_crds::names::OPERATOR_FIELD_MANAGER;
use postern_intent::NodeName;
use serde_json::json;
use tracing::{info, warn};

use super::intents::PublishedIntents;
use super::object_key::ObjectKey;
use super::outcome::IdleReason;
use super::publish::{AT_ONCE, Tally, WriteAttempt, Writer};
use crate::lease::{EPOCH_ANNOTATION, LeaseTerm, StampLook, StampState, epoch_of, look_at_stamps};
use crate::metrics::WriteLabel;
use crate::watches::WatchedObject;

/// Stamps intents. It remembers the epoch under which it has looked at the stamps before.
#[derive(Debug, Default)]
pub(super) struct FenceStep {
    fenced: Option<u64>,
}

impl FenceStep {
    /// Stamps what does not carry the epoch. A reason: the next run has to look again before anything is decided.
    pub(super) async fn run(
        &mut self,
        writer: &Writer,
        objects: &[Arc<WatchedObject<NodeIntent>>],
        epoch: u64,
        intents: &mut PublishedIntents,
        term: &LeaseTerm,
    ) -> Option<IdleReason> {
        let look = if self.fenced == Some(epoch) {
            StampLook::Again
        } else {
            StampLook::First
        };
        match fence(writer, objects, epoch, look, intents).await {
            FenceProgress::All => {
                self.fenced = Some(epoch);
                None
            }
            FenceProgress::Stamping(tally) => {
                // From here on a stamp of this epoch is this leader's own.
                self.fenced = Some(epoch);
                Some(IdleReason::Stamping(tally))
            }
            FenceProgress::TooLow(highest) => {
                warn!(
                    epoch,
                    highest, "the intents carry a higher epoch, and this leader goes above it"
                );
                term.go_above(highest);
                Some(IdleReason::TooLow)
            }
        }
    }
}

/// How the stamps stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FenceProgress {
    /// Every object carries the epoch.
    All,
    /// Stamps were written: the watch has to show them.
    Stamping(Tally),
    /// The lease has to be led under a higher epoch first.
    TooLow(u64),
}

/// Reads the stamps of the intents and writes those that are missing.
async fn fence(
    writer: &Writer,
    objects: &[Arc<WatchedObject<NodeIntent>>],
    epoch: u64,
    look: StampLook,
    intents: &mut PublishedIntents,
) -> FenceProgress {
    let stamps = objects
        .iter()
        .map(|object| (object, epoch_of(object.meta().annotations.as_ref())));
    let missing: Vec<Arc<WatchedObject<NodeIntent>>> = match look_at_stamps(stamps, epoch, look) {
        StampState::All => return FenceProgress::All,
        StampState::Above(highest) => return FenceProgress::TooLow(highest),
        StampState::Missing(missing) => missing.into_iter().map(Arc::clone).collect(),
    };
    info!(
        epoch,
        objects = missing.len(),
        "the leader stamps intents with its epoch"
    );
    let mut tally = Tally::default();
    let mut writes = futures::stream::iter(missing)
        .map(|object| stamp_named(writer, object, epoch).boxed())
        .buffer_unordered(AT_ONCE);
    while let Some((name, attempt)) = writes.next().await {
        tally.add(attempt.tally());
        let WriteAttempt::Written(stamped) = attempt else {
            continue;
        };
        writer.metrics.wrote(WriteLabel::Stamp);
        if let Ok(node) = name.parse::<NodeName>() {
            intents.touched(&node, stamped.meta(), Instant::now());
        }
    }
    FenceProgress::Stamping(tally)
}

type StampAttempt = WriteAttempt<PartialObjectMeta<NodeIntent>>;

async fn stamp_named(
    writer: &Writer,
    object: Arc<WatchedObject<NodeIntent>>,
    epoch: u64,
) -> (String, StampAttempt) {
    let stamp = stamp_one(writer, &object, epoch).await;
    (object.name_any(), stamp)
}

/// In exactly the version that was seen: an old leader that was faster makes this fail, and the next look sees it.
async fn stamp_one(
    writer: &Writer,
    object: &WatchedObject<NodeIntent>,
    epoch: u64,
) -> StampAttempt {
    let api: Api<NodeIntent> = Api::all(writer.client.clone());
    let patch = json!({
        "metadata": {
            "resourceVersion": object.resource_version(),
            "annotations": { EPOCH_ANNOTATION: epoch.to_string() },
        },
    });
    let params = PatchParams {
        field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let name = object.name_any();
    let patch = Patch::Merge(&patch);
    let request = api.patch_metadata(&name, &params, &patch);
    let key = ObjectKey::cluster("NodeIntent", &name);
    writer.attempt(&key, ApiVerb::Patch, request).await
}
