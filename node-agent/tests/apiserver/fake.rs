//! A small API server in this process, for what the exchange with the API server does with its answers.
//!
//! What it does not know: TLS, RBAC and admission (only one bearer token), schemas and pruning, who owns which field (an
//! apply is recorded, not merged), history (a watch gets the object if it is newer than asked for, and what comes then),
//! bookmarks, paging and selectors (they are recorded, and tell the NodeIntent for all nodes from that of a node). The real API server is asked by the cases of the lab.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch};
use futures::{Stream, StreamExt as _, stream};
use postern_crds::names::CLUSTER_INTENT;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// What a request was, for the record and for faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    List,
    Watch,
    /// Of the NodeIntent for all nodes.
    SharedList,
    SharedWatch,
    Get,
    Patch,
}

/// An answer out of turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Code(u16),
    RetryAfter(u16, u64),
    Silence,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) at: Instant,
    pub(crate) query: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct World {
    version: u64,
    intent: Option<Value>,
    /// The NodeIntent for all nodes.
    shared: Option<Value>,
    report: Option<Value>,
    token: String,
    faults: Vec<(Verb, VecDeque<Fault>)>,
    record: Vec<Request>,
}

impl World {
    fn next_intent(&mut self, name: &str, spec: &Value) -> Value {
        self.version += 1;
        let metadata = json!({"name": name, "resourceVersion": self.version.to_string()});
        json!({"apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent", "metadata": metadata, "spec": spec})
    }
}

#[derive(Clone)]
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    /// Lines of watches; none cuts them.
    events: broadcast::Sender<Option<Value>>,
    pub(crate) address: SocketAddr,
}

impl Fake {
    /// A server that nobody serves yet.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            world: Arc::default(),
            events: broadcast::channel(64).0,
            address,
        }
    }

    pub(crate) async fn started() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self::new(listener.local_addr().unwrap());
        fake.serve(listener);
        fake
    }

    pub(crate) fn serve(&self, listener: tokio::net::TcpListener) {
        let base = "/apis/postern.dev/v1alpha1";
        let router = Router::new()
            .route(&format!("{base}/nodeintents"), get(intents))
            .route(&format!("{base}/nodereports/{{name}}"), get(report))
            .route(&format!("{base}/nodereports/{{name}}/status"), patch(apply))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// The next answers to a verb.
    pub(crate) fn fail(&self, verb: Verb, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.world.lock().unwrap().faults.push((verb, faults));
    }

    /// Only this token is known from now on.
    pub(crate) fn know(&self, token: &str) {
        self.world.lock().unwrap().token = token.to_owned();
    }

    pub(crate) fn put_intent(&self, name: &str, spec: &Value) {
        self.change_intent(name, spec);
        let object = self.world.lock().unwrap().intent.clone();
        self.event("MODIFIED", &object.unwrap());
    }

    /// Changes the object while no watch sees it.
    pub(crate) fn change_intent(&self, name: &str, spec: &Value) {
        let mut world = self.world.lock().unwrap();
        world.intent = Some(world.next_intent(name, spec));
    }

    /// The same for the NodeIntent for all nodes.
    pub(crate) fn change_shared(&self, spec: &Value) {
        let mut world = self.world.lock().unwrap();
        world.shared = Some(world.next_intent(CLUSTER_INTENT, spec));
    }

    pub(crate) fn put_shared(&self, spec: &Value) {
        self.change_shared(spec);
        let object = self.world.lock().unwrap().shared.clone();
        self.event("MODIFIED", &object.unwrap());
    }

    pub(crate) fn delete_shared(&self) {
        let gone = self.world.lock().unwrap().shared.take();
        self.event("DELETED", &gone.unwrap());
    }

    /// Stamps the object with a term of the operator, and nothing else.
    pub(crate) fn stamp_intent(&self, epoch: &str) {
        let stamped = {
            let mut world = self.world.lock().unwrap();
            world.version += 1;
            let version = world.version.to_string();
            let object = world.intent.as_mut().unwrap();
            object["metadata"]["resourceVersion"] = json!(version);
            object["metadata"]["annotations"] = json!({"postern.dev/epoch": epoch});
            object.clone()
        };
        self.event("MODIFIED", &stamped);
    }

    /// The store as it was at an older version.
    pub(crate) fn set_back(&self, name: &str, version: u64, spec: &Value) {
        self.world.lock().unwrap().version = version - 1;
        self.change_intent(name, spec);
    }

    pub(crate) fn delete_intent(&self) {
        let gone = self.world.lock().unwrap().intent.take();
        self.event("DELETED", &gone.unwrap());
    }

    pub(crate) fn event(&self, kind: &str, object: &Value) {
        drop(
            self.events
                .send(Some(json!({"type": kind, "object": object}))),
        );
    }

    /// Breaks every watch off.
    pub(crate) fn cut(&self) {
        drop(self.events.send(None));
    }

    pub(crate) fn put_report(&self, node_uid: &str) {
        self.world.lock().unwrap().report = Some(
            json!({"apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
            "metadata": {"name": "n1", "resourceVersion": "1", "generation": 3}, "spec": {"nodeUID": node_uid}}),
        );
    }

    pub(crate) fn requests(&self, verb: Verb) -> Vec<Request> {
        let world = self.world.lock().unwrap();
        let record = world.record.iter();
        record
            .filter(|request| request.verb == verb)
            .cloned()
            .collect()
    }

    /// Records a request; its answer, if it is out of turn.
    async fn enter(
        &self,
        verb: Verb,
        headers: &HeaderMap,
        query: String,
        body: Value,
    ) -> Option<Response> {
        let (fault, known) = {
            let mut world = self.world.lock().unwrap();
            let at = Instant::now();
            world.record.push(Request {
                verb,
                at,
                query,
                body,
            });
            let mut queues = world.faults.iter_mut();
            let fault = queues.find(|(of, left)| *of == verb && !left.is_empty());
            (
                fault.and_then(|(_, left)| left.pop_front()),
                world.token.clone(),
            )
        };
        let shown = headers.get(header::AUTHORIZATION);
        let shown = shown
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !known.is_empty() && shown != format!("Bearer {known}") {
            return Some(status(401, "Unauthorized"));
        }
        match fault? {
            Fault::Code(code) => Some(status(code, "out of turn")),
            Fault::RetryAfter(code, seconds) => {
                let mut response = status(code, "out of turn");
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, seconds.into());
                Some(response)
            }
            Fault::Silence => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                None
            }
        }
    }
}

fn status(code: u16, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "OutOfTurn", "message": message});
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

async fn intents(
    State(fake): State<Fake>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let is_watch = query.contains("watch=true");
    let is_shared = query.contains(CLUSTER_INTENT);
    let verb = match (is_shared, is_watch) {
        (false, false) => Verb::List,
        (false, true) => Verb::Watch,
        (true, false) => Verb::SharedList,
        (true, true) => Verb::SharedWatch,
    };
    // What comes from now on is seen, also while the answer is being made.
    let events = fake.events.subscribe();
    if let Some(fault) = fake.enter(verb, &headers, query.clone(), Value::Null).await {
        return fault;
    }
    let world = fake.world.lock().unwrap();
    let object = if is_shared {
        &world.shared
    } else {
        &world.intent
    };
    if !is_watch {
        let items: Vec<&Value> = object.iter().collect();
        let list = json!({"kind": "NodeIntentList", "apiVersion": "postern.dev/v1alpha1",
            "metadata": {"resourceVersion": world.version.to_string()}, "items": items});
        return axum::Json(list).into_response();
    }
    let from = query
        .split('&')
        .find_map(|part| part.strip_prefix("resourceVersion="));
    let from: u64 = from.and_then(|text| text.parse().ok()).unwrap_or_default();
    let newer = object.clone().filter(|_| world.version > from);
    let missed = newer.map(|object| json!({"type": "MODIFIED", "object": object}));
    Body::from_stream(lines(missed, events)).into_response()
}

fn lines(
    first: Option<Value>,
    events: broadcast::Receiver<Option<Value>>,
) -> impl Stream<Item = Result<String, Infallible>> {
    let later = stream::unfold(events, |mut events| async move {
        let event = events.recv().await.ok()??;
        Some((event, events))
    });
    stream::iter(first)
        .chain(later)
        .map(|event| Ok(format!("{event}\n")))
}

async fn report(
    State(fake): State<Fake>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Some(fault) = fake.enter(Verb::Get, &headers, name, Value::Null).await {
        return fault;
    }
    let report = fake.world.lock().unwrap().report.clone();
    report.map_or_else(
        || status(404, "nodereports \"n1\" not found"),
        |r| axum::Json(r).into_response(),
    )
}

async fn apply(
    State(fake): State<Fake>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let query = query.unwrap_or_default();
    if let Some(fault) = fake.enter(Verb::Patch, &headers, query, body.clone()).await {
        return fault;
    }
    let mut world = fake.world.lock().unwrap();
    let Some(report) = &mut world.report else {
        return status(404, "nodereports \"n1\" not found");
    };
    report["status"] = body["status"].clone();
    axum::Json(report.clone()).into_response()
}
