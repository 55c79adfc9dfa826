//! Statuses and Events, written where they differ from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};
use postern_compile::verdict::Verdict;
use postern_crds::names::{API_VERSION, OPERATOR_FIELD_MANAGER};
use postern_crds::{EgressPolicy, ExitNode, InterfaceIsolation};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;

use super::events::{Notice, Regarding};
use super::limiter::Limiter;
use super::notices::between;
use super::queue::EventQueue;
use super::status::{Desired, Key, StatusBody, desired};
use crate::api::{Act, ApiError, within};
use crate::error::chain;
use crate::metrics::Written;
use crate::pipeline::publish::{Tally, Writer};
use crate::watches::{Stores, Tolerant};

/// At most one status in this time for each object.
const PERIOD: Duration = Duration::from_secs(1);

/// At most so many statuses in one run: a thousand new policies must not keep a pod's intent waiting.
const IN_ONE_RUN: usize = 128;

/// How many statuses are under way at once.
const AT_ONCE: usize = 8;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// Writes.
    pub tally: Tally,
    /// When the next status that had to wait may be written.
    pub wait: Option<Duration>,
}

/// An object as the watch shows it.
struct There {
    uid: Option<String>,
    version: Option<String>,
    generation: Option<i64>,
    status: Option<StatusBody>,
}

/// Writes statuses and Events; one for the whole process.
pub struct Reporter {
    limiter: Limiter<Key>,
    announced: BTreeSet<(&'static str, String, String)>,
    /// Versions that were answered; the watch may not have shown the answer yet.
    written: BTreeMap<Key, Option<String>>,
}

impl Default for Reporter {
    fn default() -> Self {
        Self {
            limiter: Limiter::new(PERIOD),
            announced: BTreeSet::new(),
            written: BTreeMap::new(),
        }
    }
}

struct Write {
    desired: Desired,
    there: There,
    notices: Vec<Notice>,
}

impl Reporter {
    /// Writes every status that differs, and tells what changed.
    pub async fn report(
        &mut self,
        writer: &Writer,
        events: &EventQueue,
        stores: &Stores,
        verdicts: &[Verdict],
    ) -> Said {
        let (writes, wait) = self.differences(stores, verdicts);
        let mut said = Said {
            tally: Tally::default(),
            wait,
        };
        let mut answers = futures::stream::iter(writes)
            .map(|write| apply_if_leading(writer, events, write).boxed())
            .buffer_unordered(AT_ONCE);
        while let Some(done) = answers.next().await {
            let Some((write, answer)) = done else {
                said.tally.late += 1;
                continue;
            };
            said.tally
                .count(answer.as_ref().err().map(ApiError::failure));
            match answer {
                Ok(()) => {
                    writer.metrics.wrote(Written::Status);
                    self.written.insert(write.desired.key, write.there.version);
                }
                Err(error) => warn!(error = chain(&error), "the status was not written"),
            }
        }
        said
    }

    fn differences(
        &mut self,
        stores: &Stores,
        verdicts: &[Verdict],
    ) -> (Vec<Write>, Option<Duration>) {
        let (now, clock) = (Instant::now(), Timestamp::now());
        self.limiter.forget(now);
        let mut writes = Vec::new();
        let mut wait: Option<Duration> = None;
        for verdict in verdicts {
            let key = Key::of(verdict);
            let Some(there) = there(stores, &key) else {
                self.written.remove(&key);
                continue;
            };
            // A verdict on an older generation says nothing about what is there now.
            if there.generation != verdict.generation {
                continue;
            }
            let Some(desired) = desired(verdict, there.status.as_ref(), clock) else {
                continue;
            };
            if there.status.as_ref() == Some(&desired.status) || self.is_on_its_way(&key, &there) {
                continue;
            }
            if writes.len() >= IN_ONE_RUN {
                return (writes, Some(Duration::ZERO));
            }
            match self.limiter.admit(&key, now) {
                Ok(()) => writes.push(write(desired, there)),
                Err(rest) => wait = Some(wait.map_or(rest, |wait| wait.min(rest))),
            }
        }
        (writes, wait)
    }

    /// Was this version answered already? Then the watch has to show the answer first.
    fn is_on_its_way(&mut self, key: &Key, there: &There) -> bool {
        match self.written.get(key) {
            Some(version) if *version == there.version => true,
            Some(_) => {
                self.written.remove(key);
                false
            }
            None => false,
        }
    }

    /// Announces what is new of a list of notices, and forgets what is over.
    pub fn announce(
        &mut self,
        events: &EventQueue,
        about: &'static str,
        notices: BTreeMap<(String, String), Notice>,
    ) {
        let over = |(kind, name, what): &(&'static str, String, String)| {
            *kind == about && !notices.contains_key(&(name.clone(), what.clone()))
        };
        self.announced.retain(|key| !over(key));
        for ((name, what), notice) in notices {
            if self.announced.insert((about, name, what)) {
                events.push(notice);
            }
        }
    }
}

fn write(desired: Desired, there: There) -> Write {
    let key = &desired.key;
    let regarding = Regarding::own(
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
    let notices = between(&regarding, before, desired.status.conditions());
    Write {
        desired,
        there,
        notices,
    }
}

fn there(stores: &Stores, key: &Key) -> Option<There> {
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
        "InterfaceIsolation" => shown(
            &stores.isolations,
            key,
            |object: &InterfaceIsolation| object.status.clone(),
            StatusBody::Isolation,
        ),
        _ => None,
    }
}

fn shown<K, S>(
    store: &Store<Tolerant<K>>,
    key: &Key,
    status: fn(&K) -> Option<S>,
    body: fn(S) -> StatusBody,
) -> Option<There>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    S: DeserializeOwned,
{
    let mut reference = ObjectRef::new(&key.name);
    if let Some(namespace) = &key.namespace {
        reference = reference.within(namespace);
    }
    let object = store.get(&reference)?;
    Some(There {
        uid: object.uid(),
        version: object.resource_version(),
        generation: Some(object.meta().generation.unwrap_or_default()),
        // An object that cannot be read has a status of ours all the same: else it would be written for ever.
        status: match &*object {
            Tolerant::Good(good) => status(good),
            Tolerant::Poison(poison) => poison
                .raw
                .get("status")
                .and_then(|raw| S::deserialize(raw).ok()),
        }
        .map(body),
    })
}

async fn apply_if_leading(
    writer: &Writer,
    events: &EventQueue,
    mut write: Write,
) -> Option<(Write, Result<(), ApiError>)> {
    if !writer.may_write() {
        return None;
    }
    let answer = apply(writer, &write).await;
    if answer.is_ok() {
        for notice in write.notices.drain(..) {
            events.push(notice);
        }
    }
    Some((write, answer))
}

/// Server-side apply of the whole status, in exactly the version that was looked at.
async fn apply(writer: &Writer, write: &Write) -> Result<(), ApiError> {
    let Desired { key, status } = &write.desired;
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": key.kind,
        "metadata": { "name": key.name, "resourceVersion": write.there.version },
        "status": status,
    });
    let params = PatchParams::apply(OPERATOR_FIELD_MANAGER).force();
    let what = format!("the status of {} {}", key.kind, key.name);
    let patch = Patch::Apply(&patch);
    let client = writer.client.clone();
    match (key.kind, &key.namespace) {
        ("EgressPolicy", Some(namespace)) => {
            let api: Api<EgressPolicy> = Api::namespaced(client, namespace);
            let request = api.patch_status(&key.name, &params, &patch);
            within(Act::Patch, what, request).await.map(|_| ())
        }
        ("ExitNode", _) => {
            let api: Api<ExitNode> = Api::all(client);
            let request = api.patch_status(&key.name, &params, &patch);
            within(Act::Patch, what, request).await.map(|_| ())
        }
        ("InterfaceIsolation", _) => {
            let api: Api<InterfaceIsolation> = Api::all(client);
            let request = api.patch_status(&key.name, &params, &patch);
            within(Act::Patch, what, request).await.map(|_| ())
        }
        _ => Ok(()),
    }
}
