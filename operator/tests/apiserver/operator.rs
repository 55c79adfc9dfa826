//! A pipeline that leads, on a cluster of some nodes whose API server answers by a script.

use std::time::Duration;

use http::{Method, StatusCode};
use kube::Client;
use postern_apiserver::{NewestRevision, Requests};
use postern_compile::snapshot::CompilerSettings;
use postern_operator::lease::TermWriter;
use postern_operator::pipeline::publish::Writer;
use postern_operator::pipeline::statuses::{event_queue, status_writer};
use postern_operator::pipeline::{Pipeline, PipelineParts, RunOutcome};
use postern_operator::settings::KnownSettings;
use postern_operator::watches::{WatchSignals, start};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::server::{self, Answer, Asked, Log};

const NAMESPACE: &str = "postern-system";

/// A pipeline that leads, on a cluster that has some nodes and a policy.
pub(crate) struct Operator {
    pub(crate) pipeline: Pipeline,
    signals: WatchSignals,
    log: Log,
    _leading: TermWriter,
    _settings: watch::Sender<KnownSettings>,
}

/// How the API server of a case differs from an ordinary one.
pub(crate) enum Script {
    /// Nothing: it answers as ever.
    Usual,
    /// It refuses with this code and reason.
    Says(StatusCode, &'static str),
    Silent,
    /// It answers with this.
    Shows(Value),
}

/// Answers as an API server does that has nodes and a policy, unless `special` answers.
fn answer(asked: &Asked, nodes: &[&str], special: impl Fn(&Asked) -> Script) -> Answer {
    match special(asked) {
        Script::Usual => {}
        Script::Says(code, reason) => return Some(refusal(code, reason)),
        Script::Silent => return None,
        Script::Shows(value) => return Some((StatusCode::OK, format!("{value}\n"))),
    }
    if asked.method != Method::GET {
        return written(asked);
    }
    // A watch shows nothing, and goes on.
    if asked.query.contains("watch=true") {
        return None;
    }
    if asked.path.ends_with("/secrets/postern-signing-key") {
        return Some(refusal(StatusCode::NOT_FOUND, "NotFound"));
    }
    let node = |name: &&str| {
        json!({
            "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "5"},
            "spec": {"podCIDRs": ["10.1.0.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]},
        })
    };
    let policy = json!({
        "metadata": {
            "name": "p", "namespace": "shop", "uid": "uid-p", "generation": 1, "resourceVersion": "6",
        },
        "spec": {"route": "not one that can be read"},
    });
    let items: Vec<Value> = match asked.path.as_str() {
        "/api/v1/nodes" => nodes.iter().map(node).collect(),
        "/apis/postern.dev/v1alpha1/egresspolicies" => vec![policy],
        _ => Vec::new(),
    };
    let list = json!({
        "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "10"}, "items": items,
    });
    Some((StatusCode::OK, list.to_string()))
}

/// An object as it was sent, with a version.
fn written(asked: &Asked) -> Answer {
    let mut object: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    object["metadata"]["resourceVersion"] = json!("20");
    Some((StatusCode::OK, object.to_string()))
}

fn refusal(code: StatusCode, reason: &str) -> (StatusCode, String) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason,
        "message": "the test refuses it", "code": code.as_u16(),
    });
    (code, status.to_string())
}

/// The pipeline on an API server that answers as ever, unless `special` answers.
pub(crate) fn operator(
    nodes: &'static [&'static str],
    special: impl Fn(&Asked) -> Script + Clone + Send + 'static,
) -> Operator {
    let (client, log) = server::server(move |asked| answer(asked, nodes, &special));
    let (writer, leading) = server::writer(client.clone());
    let signals = WatchSignals::default();
    let (pipeline, settings) = pipeline(&client, writer, &signals);
    Operator {
        pipeline,
        signals,
        log,
        _leading: leading,
        _settings: settings,
    }
}

fn pipeline(
    client: &Client,
    writer: Writer,
    signals: &WatchSignals,
) -> (Pipeline, watch::Sender<KnownSettings>) {
    let (stores, watches) = start(client, NAMESPACE, signals, &writer.metrics);
    for watch in watches {
        tokio::spawn(watch);
    }
    let known = CompilerSettings {
        service_ranges: vec!["10.96.0.0/16".parse().unwrap()],
        api_servers: ["192.0.2.1:6443".parse().unwrap()].into(),
        ..CompilerSettings::default()
    };
    let (sender, settings) = watch::channel(known.into());
    let (events, event_writer) = event_queue(writer.clone(), "operator-0");
    tokio::spawn(event_writer.write_events());
    let (verdicts, statuses) = status_writer(writer.clone(), events.clone(), stores.clone());
    tokio::spawn(statuses.write_statuses());
    let parts = PipelineParts {
        writer,
        namespace: NAMESPACE.to_owned(),
        events,
        verdicts,
        stores,
        signals: signals.clone(),
        settings,
        lease_revision: NewestRevision::default(),
        requests: Requests::default(),
    };
    (Pipeline::new(parts), sender)
}

impl Operator {
    /// Waits until every store is complete.
    pub(crate) async fn complete(&self) {
        let complete = async {
            let mut changes = self.signals.subscribe();
            while !self.signals.missing(std::time::Instant::now()).is_empty() {
                changes.changed().await.unwrap();
            }
        };
        let complete = tokio::time::timeout(Duration::from_secs(10), complete).await;
        let missing = self.signals.missing(std::time::Instant::now());
        complete.unwrap_or_else(|_| panic!("stores are missing: {missing:?}"));
    }

    /// Waits until every store is complete, and runs once.
    pub(crate) async fn first_run(&mut self) -> RunOutcome {
        self.complete().await;
        self.pipeline.run().await.unwrap()
    }

    pub(crate) fn was_asked(&self, path: &str) -> bool {
        let log = self.log.lock().unwrap();
        log.iter().any(|asked| asked.path.ends_with(path))
    }

    /// How often a resource was listed.
    pub(crate) fn listed(&self, resource: &str) -> usize {
        let log = self.log.lock().unwrap();
        let listed =
            |asked: &&Asked| asked.path.ends_with(resource) && !asked.query.contains("watch=true");
        log.iter().filter(listed).count()
    }

    /// How many objects of a resource were sent to be made.
    pub(crate) fn made(&self, resource: &str) -> usize {
        let log = self.log.lock().unwrap();
        let made = |asked: &&Asked| asked.method == Method::POST && asked.path.ends_with(resource);
        log.iter().filter(made).count()
    }

    /// The first Event of this action, once it is written.
    pub(crate) async fn told(&self, action: &str) -> Value {
        let find = || {
            let log = self.log.lock().unwrap();
            let mut events = log
                .iter()
                .filter(|asked| asked.method == Method::POST && asked.path.ends_with("/events"));
            events.find_map(|asked| {
                let event: Value = serde_json::from_str(&asked.body).unwrap();
                (event["action"] == action).then_some(event)
            })
        };
        let found = async {
            loop {
                match find() {
                    Some(event) => return event,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        found.unwrap_or_else(|_| panic!("no Event of action {action}"))
    }
}
