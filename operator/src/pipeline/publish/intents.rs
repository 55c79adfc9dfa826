//! The writes of intents: a few at a time, each only while this process leads, none of them twice.

use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use postern_apiserver::{ApiVerb, Failure, within};
use postern_compile::publish::{DocumentChange, SignedDocument};
use postern_crds::NodeIntent;
use tracing::info;

use super::plan::{PlannedWrite, WriteMethod};
use super::tally::Tally;
use super::writer::{AT_ONCE, WriteAttempt, Writer};
use crate::metrics::WriteLabel;
use crate::pipeline::intents::KnownIntents;
use crate::pipeline::object_key::ObjectKey;

/// Writes intents and remembers what was written.
pub async fn publish_intents<D: SignedDocument>(
    writer: &Writer,
    planned: Vec<PlannedWrite<D>>,
    intents: &mut KnownIntents<D>,
) -> Tally {
    let mut tally = Tally::default();
    let mut writes = futures::stream::iter(planned)
        .map(|one| write_timed(writer, one).boxed())
        .buffer_unordered(AT_ONCE);
    while let Some((one, sent, attempt)) = writes.next().await {
        tally.add(attempt.tally());
        let object = match attempt {
            WriteAttempt::Written(object) => object,
            WriteAttempt::Failed(error) if error.failure() == Failure::Passing => {
                intents.sent_unanswered(one, Instant::now());
                continue;
            }
            WriteAttempt::Failed(_) | WriteAttempt::NotLeading | WriteAttempt::BackingOff => {
                continue;
            }
        };
        writer.metrics.wrote(match one.change {
            DocumentChange::New | DocumentChange::Keys => WriteLabel::Intent,
            DocumentChange::Republished => WriteLabel::Republished,
        });
        info!(node = %one.node, serial = one.document.serial().0, why = one.change.as_str(), "published");
        intents.arrivals.published(&one, sent);
        intents.wrote(
            one.node,
            object.spec,
            one.document,
            &object.metadata,
            one.change,
            Instant::now(),
        );
    }
    tally
}

/// What was to be written, when that was begun, and what came of it.
async fn write_timed<D: SignedDocument>(
    writer: &Writer,
    mut one: PlannedWrite<D>,
) -> (PlannedWrite<D>, Timestamp, WriteAttempt<NodeIntent>) {
    let sent = Timestamp::now();
    let attempt = write(writer, &mut one).await;
    (one, sent, attempt)
}

async fn write<D: SignedDocument>(
    writer: &Writer,
    one: &mut PlannedWrite<D>,
) -> WriteAttempt<NodeIntent> {
    let api: Api<NodeIntent> = Api::all(writer.client.clone());
    let key = ObjectKey::cluster("NodeIntent", one.node.as_str());
    let params = Writer::params();
    match &one.method {
        WriteMethod::Create => {
            let request = api.create(&params, &one.object);
            writer.attempt(&key, ApiVerb::Create, request).await
        }
        WriteMethod::Replace { generation } => {
            let seen = *generation;
            let first = replace(writer, &api, &key, one).await;
            match &first {
                WriteAttempt::Failed(error) if error.failure() == Failure::Stale => {}
                _ => return first,
            }
            // Its own status is no reason to wait for the watch and to compile again.
            match newer_version(&api, &key, one, seen).await {
                Some(version) => {
                    one.object.metadata.resource_version = Some(version);
                    replace(writer, &api, &key, one).await
                }
                None => first,
            }
        }
        WriteMethod::Anew { uid, version } => {
            let exactly = Preconditions {
                uid: uid.clone(),
                resource_version: version.clone(),
            };
            let delete = DeleteParams::default().preconditions(exactly);
            let request = api.delete(one.node.as_str(), &delete);
            match writer.attempt(&key, ApiVerb::Delete, request).await {
                // A create has no version that a new leader could have made old, so the term is checked again.
                WriteAttempt::Written(_) => {
                    let request = api.create(&params, &one.object);
                    writer.attempt(&key, ApiVerb::Create, request).await
                }
                WriteAttempt::Failed(error) => WriteAttempt::Failed(error),
                WriteAttempt::NotLeading => WriteAttempt::NotLeading,
                WriteAttempt::BackingOff => WriteAttempt::BackingOff,
            }
        }
    }
}

async fn replace<D>(
    writer: &Writer,
    api: &Api<NodeIntent>,
    key: &ObjectKey,
    one: &PlannedWrite<D>,
) -> WriteAttempt<NodeIntent> {
    let params = Writer::params();
    let request = api.replace(one.node.as_str(), &params, &one.object);
    writer.attempt(key, ApiVerb::Replace, request).await
}

/// The version of what is there, if it differs from what was seen by its status alone. A leader that took over has put its
/// epoch into the annotations.
async fn newer_version<D>(
    api: &Api<NodeIntent>,
    key: &ObjectKey,
    one: &PlannedWrite<D>,
    generation: Option<i64>,
) -> Option<String> {
    let request = api.get_metadata(one.node.as_str());
    let found = within(ApiVerb::Get, key.to_string(), request).await.ok()?;
    let (there, ours) = (found.metadata, &one.object.metadata);
    let is_same = there.generation.is_some()
        && there.generation == generation
        && there.uid == ours.uid
        && there.annotations == ours.annotations
        && there.labels == ours.labels
        && there.finalizers == ours.finalizers
        && there.owner_references == ours.owner_references;
    is_same.then_some(there.resource_version).flatten()
}
