//! The writes of statuses, beside the runs: a policy's intent never waits for a status. A status is written where it
//! differs from what is there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};
use postern_apiserver::ApiVerb;
use postern_compile::verdict::Verdict;
use postern_crds::names::{API_VERSION, OPERATOR_FIELD_MANAGER};
use postern_crds::{ClusterEgressPolicy, EgressPolicy, ExitNode, InterfaceIsolation, NodeIntent};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;

use super::events::{EventNotice, EventTarget};
use super::limiter::Limiter;
use super::node_status::{is_about, unpublished};
use super::notices::between;
use super::queue::EventQueue;
use super::status::{DesiredStatus, NODE_INTENT_STATUS, StatusBody, desired, key};
use super::unshown::UnshownStatuses;
use crate::metrics::{PipelineStep, WriteLabel};
use crate::pipeline::object_key::ObjectKey;
use crate::pipeline::publish::{Tally, WriteAttempt, Writer};
use crate::watches::{WatchedObject, WatchedStores};

/// At most one status in this time for each object.
const PERIOD: Duration = Duration::from_secs(1);

/// How many statuses are written before the newest verdicts are looked at again.
const BATCH: usize = 128;

/// How many statuses are under way at once.
const AT_ONCE: usize = 8;

/// How soon a status follows that was written in a version which was old.
const SOON: Duration = Duration::from_millis(500);

/// The verdicts of the last run, for the task that writes statuses.
#[derive(Debug, Clone)]
pub struct VerdictSender(watch::Sender<Arc<Vec<Verdict>>>);

impl VerdictSender {
    /// Hands verdicts on, without waiting. Those of an earlier run that are not written yet are not written any more.
    pub fn send(&self, verdicts: Vec<Verdict>) {
        self.0.send_replace(Arc::new(verdicts));
    }
}

/// Writes statuses until every [`VerdictSender`] is gone.
pub struct StatusWriter {
    writer: Writer,
    events: EventQueue,
    stores: WatchedStores,
    verdicts: watch::Receiver<Arc<Vec<Verdict>>>,
    limiter: Limiter<ObjectKey>,
    /// Versions that were answered; the watch may not have shown the answer yet.
    written: BTreeMap<ObjectKey, Option<String>>,
    unshown: UnshownStatuses,
}

#[must_use]
pub fn status_writer(
    writer: Writer,
    events: EventQueue,
    stores: WatchedStores,
) -> (VerdictSender, StatusWriter) {
    let (sender, verdicts) = watch::channel(Arc::default());
    let statuses = StatusWriter {
        writer,
        events,
        stores,
        verdicts,
        limiter: Limiter::new(PERIOD),
        written: BTreeMap::new(),
        unshown: UnshownStatuses::default(),
    };
    (VerdictSender(sender), statuses)
}

/// An object as the watch shows it.
struct ShownStatus {
    uid: Option<String>,
    version: Option<String>,
    generation: Option<i64>,
    status: Option<StatusBody>,
}

struct Write {
    desired: DesiredStatus,
    there: ShownStatus,
    notices: Vec<EventNotice>,
}

impl StatusWriter {
    /// Goes on until every [`VerdictSender`] is gone.
    pub async fn write_statuses(mut self) {
        loop {
            let verdicts = Arc::clone(&self.verdicts.borrow_and_update());
            let wait = self.write_batch(&verdicts).await;
            let waiting = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.verdicts.changed() => if changed.is_err() { return },
                () = waiting => {}
            }
        }
    }

    /// Writes statuses that differ. After what time there is more to write; none: nothing waits.
    async fn write_batch(&mut self, verdicts: &[Verdict]) -> Option<Duration> {
        let started = Instant::now();
        let (writes, wait) = self.differences(verdicts);
        let mut tally = Tally::default();
        let (writer, events) = (&self.writer, &self.events);
        let mut answers = futures::stream::iter(writes)
            .map(|write| apply_and_announce(writer, events, write).boxed())
            .buffer_unordered(AT_ONCE);
        while let Some((write, attempt)) = answers.next().await {
            tally.add(attempt.tally());
            if matches!(attempt, WriteAttempt::Written(())) {
                self.writer.metrics.wrote(WriteLabel::Status);
                self.written.insert(write.desired.key, write.there.version);
            }
        }
        self.writer
            .metrics
            .took(PipelineStep::Status, started.elapsed());
        let stale = (tally.stale > 0).then_some(SOON);
        let retry = self.writer.next_retry(Instant::now());
        [wait, stale, retry].into_iter().flatten().min()
    }

    fn differences(&mut self, verdicts: &[Verdict]) -> (Vec<Write>, Option<Duration>) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        self.limiter.forget(now);
        let mut writes = Vec::new();
        let mut wait: Option<Duration> = None;
        for verdict in verdicts {
            let key = key(verdict);
            let Some(there) = there(&self.stores, &key) else {
                self.written.remove(&key);
                self.unshown.forget(&key);
                continue;
            };
            let current = match self.current(verdict, &key, &there, now) {
                Ok(current) => current,
                Err(rest) => {
                    wait = [wait, rest].into_iter().flatten().min();
                    continue;
                }
            };
            let status = there.status.as_ref();
            let Some(desired) = desired(&current, status, there.generation, clock) else {
                continue;
            };
            if there.status.as_ref() == Some(&desired.status) || self.is_on_its_way(&key, &there) {
                continue;
            }
            if !self.writer.is_due(&key, now) {
                continue;
            }
            if writes.len() >= BATCH {
                return (writes, Some(Duration::ZERO));
            }
            match self.limiter.admit(&key, now) {
                Ok(()) => writes.push(write(desired, there)),
                Err(rest) => wait = Some(wait.map_or(rest, |wait| wait.min(rest))),
            }
        }
        (writes, wait)
    }

    /// The verdict, as it applies to what is there now; else after what time it may apply to it.
    fn current<'a>(
        &mut self,
        verdict: &'a Verdict,
        key: &ObjectKey,
        there: &ShownStatus,
        now: Instant,
    ) -> Result<Cow<'a, Verdict>, Option<Duration>> {
        if key.kind != NODE_INTENT_STATUS {
            // A verdict on an older generation says nothing about what is there now.
            let is_current = there.generation == verdict.generation;
            return is_current.then_some(Cow::Borrowed(verdict)).ok_or(None);
        }
        let shown = serial(&self.stores, key);
        if is_about(verdict, shown) {
            self.unshown.forget(key);
            return Ok(Cow::Borrowed(verdict));
        }
        match self.unshown.rest(key, shown, now) {
            Duration::ZERO => Ok(Cow::Owned(unpublished(verdict))),
            rest => Err(Some(rest)),
        }
    }

    /// Was this version answered already? Then the watch has to show the answer first.
    fn is_on_its_way(&mut self, key: &ObjectKey, there: &ShownStatus) -> bool {
        match self.written.get(key) {
            Some(version) if *version == there.version => true,
            Some(_) => {
                self.written.remove(key);
                false
            }
            None => false,
        }
    }
}

fn write(desired: DesiredStatus, there: ShownStatus) -> Write {
    let key = &desired.key;
    let regarding = EventTarget::own(
        key.kind,
        key.namespace.clone(),
        &key.name,
        there.uid.clone(),
    );
    let before = there
        .status
        .as_ref()
        .map(StatusBody::conditions)
        .unwrap_or_default();
    // A node's faults are announced at its Node object.
    let notices = match desired.status {
        StatusBody::Node(_) => Vec::new(),
        _ => between(&regarding, before, desired.status.conditions()),
    };
    Write {
        desired,
        there,
        notices,
    }
}

fn there(stores: &WatchedStores, key: &ObjectKey) -> Option<ShownStatus> {
    match key.kind {
        "EgressPolicy" => shown(
            &stores.policies,
            key,
            |object: &EgressPolicy| object.status.clone(),
            StatusBody::Policy,
        ),
        "ExitNode" => shown(
            &stores.exits,
            key,
            |object: &ExitNode| object.status.clone(),
            StatusBody::Exit,
        ),
        "ClusterEgressPolicy" => shown(
            &stores.cluster_policies,
            key,
            |object: &ClusterEgressPolicy| object.status.clone(),
            StatusBody::ClusterPolicy,
        ),
        "InterfaceIsolation" => shown(
            &stores.isolations,
            key,
            |object: &InterfaceIsolation| object.status.clone(),
            StatusBody::Isolation,
        ),
        NODE_INTENT_STATUS => shown(
            &stores.intents,
            key,
            |object: &NodeIntent| object.status.clone(),
            StatusBody::Node,
        ),
        _ => None,
    }
}

/// The serial that is published for a node.
fn serial(stores: &WatchedStores, key: &ObjectKey) -> Option<u64> {
    let object = stores.intents.get(&ObjectRef::new(&key.name))?;
    object.good().map(|intent| intent.spec.serial)
}

fn shown<K, S>(
    store: &Store<WatchedObject<K>>,
    key: &ObjectKey,
    status: fn(&K) -> Option<S>,
    body: fn(S) -> StatusBody,
) -> Option<ShownStatus>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    S: DeserializeOwned,
{
    let mut reference = ObjectRef::new(&key.name);
    if let Some(namespace) = &key.namespace {
        reference = reference.within(namespace);
    }
    let object = store.get(&reference)?;
    Some(ShownStatus {
        uid: object.uid(),
        version: object.resource_version(),
        generation: Some(object.meta().generation.unwrap_or_default()),
        // An object that cannot be read has a status of ours all the same: else it would be written for ever.
        status: match &*object {
            WatchedObject::Good(good) => status(good),
            WatchedObject::Poison(poison) => poison
                .raw
                .get("status")
                .and_then(|raw| S::deserialize(raw).ok()),
        }
        .map(body),
    })
}

async fn apply_and_announce(
    writer: &Writer,
    events: &EventQueue,
    mut write: Write,
) -> (Write, WriteAttempt<()>) {
    let attempt = apply(writer, &write).await;
    if matches!(attempt, WriteAttempt::Written(())) {
        for notice in write.notices.drain(..) {
            events.push(notice);
        }
    }
    (write, attempt)
}

async fn apply(writer: &Writer, write: &Write) -> WriteAttempt<()> {
    let key = &write.desired.key;
    let client = writer.client.clone();
    match (key.kind, &key.namespace) {
        ("EgressPolicy", Some(namespace)) => {
            let api: Api<EgressPolicy> = Api::namespaced(client, namespace);
            apply_status(writer, &api, write).await
        }
        ("ExitNode", _) => apply_status(writer, &Api::<ExitNode>::all(client), write).await,
        (NODE_INTENT_STATUS, _) => {
            apply_status(writer, &Api::<NodeIntent>::all(client), write).await
        }
        ("ClusterEgressPolicy", _) => {
            apply_status(writer, &Api::<ClusterEgressPolicy>::all(client), write).await
        }
        // `desired` gives a status for these five kinds alone.
        _ => apply_status(writer, &Api::<InterfaceIsolation>::all(client), write).await,
    }
}

/// Server-side apply of the whole status, in exactly the version that was looked at.
async fn apply_status<K>(writer: &Writer, api: &Api<K>, write: &Write) -> WriteAttempt<()>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let DesiredStatus { key, status } = &write.desired;
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": key.kind.trim_end_matches("/status"),
        "metadata": { "name": key.name, "resourceVersion": write.there.version },
        "status": status,
    });
    let params = PatchParams::apply(OPERATOR_FIELD_MANAGER).force();
    let patch = Patch::Apply(&patch);
    let request = api.patch_status(&key.name, &params, &patch);
    writer
        .attempt(
            key,
            ApiVerb::Patch,
            request.map(|answer| answer.map(|_| ())),
        )
        .await
}
