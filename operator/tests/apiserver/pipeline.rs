//! The whole pipeline: what fails for one object stops no other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use kube::Client;
use postern_apiserver::{NewestRevision, Requests};
use postern_compile::snapshot::Settings;
use postern_crds::names::CLUSTER_INTENT;
use postern_operator::lease::TermWriter;
use postern_operator::pipeline::publish::Writer;
use postern_operator::pipeline::report::{event_queue, status_writer};
use postern_operator::pipeline::{IdleReason, Outcome, Pipeline, PipelineParts};
use postern_operator::settings::KnownSettings;
use postern_operator::watches::{WatchSignals, start};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::server::{self, Answer, Asked, Log};

const NAMESPACE: &str = "postern-system";

/// A pipeline that leads, on a cluster that has some nodes and a policy.
struct Operator {
    pipeline: Pipeline,
    signals: WatchSignals,
    log: Log,
    _leading: TermWriter,
    _settings: watch::Sender<KnownSettings>,
}

/// How the API server of a case differs from an ordinary one.
enum Script {
    /// Nothing: it answers as ever.
    Usual,
    /// It refuses with this code and reason.
    Says(StatusCode, &'static str),
    /// It never answers.
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

fn operator(
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
    let known = Settings {
        service_ranges: vec!["10.96.0.0/16".parse().unwrap()],
        api_servers: ["192.0.2.1:6443".parse().unwrap()].into(),
        ..Settings::default()
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
    /// Waits until every store is complete, and runs once.
    async fn first_run(&mut self) -> Outcome {
        let complete = async {
            let mut changes = self.signals.subscribe();
            while !self.signals.missing(std::time::Instant::now()).is_empty() {
                changes.changed().await.unwrap();
            }
        };
        let complete = tokio::time::timeout(Duration::from_secs(10), complete).await;
        let missing = self.signals.missing(std::time::Instant::now());
        complete.unwrap_or_else(|_| panic!("stores are missing: {missing:?}"));
        self.pipeline.run().await.unwrap()
    }

    fn was_asked(&self, path: &str) -> bool {
        let log = self.log.lock().unwrap();
        log.iter().any(|asked| asked.path.ends_with(path))
    }

    /// How often a resource was listed.
    fn listed(&self, resource: &str) -> usize {
        let log = self.log.lock().unwrap();
        let listed =
            |asked: &&Asked| asked.path.ends_with(resource) && !asked.query.contains("watch=true");
        log.iter().filter(listed).count()
    }

    /// How many objects of a resource were sent to be made.
    fn made(&self, resource: &str) -> usize {
        let log = self.log.lock().unwrap();
        let made = |asked: &&Asked| asked.method == Method::POST && asked.path.ends_with(resource);
        log.iter().filter(made).count()
    }
}

fn refuses_reports(asked: &Asked) -> Script {
    if asked.method == Method::POST && asked.path.ends_with("/nodereports") {
        return Script::Says(StatusCode::FORBIDDEN, "Forbidden");
    }
    Script::Usual
}

#[tokio::test]
async fn an_object_that_is_refused_keeps_no_intent_waiting() {
    let mut operator = operator(&["n1", "n2"], refuses_reports);
    let outcome = operator.first_run().await;
    assert!(
        matches!(
            outcome,
            Outcome::Partly {
                intents: 0,
                retry: Some(_)
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(
        operator.made("/nodeintents"),
        3,
        "of both nodes and of all nodes"
    );
    assert_eq!(operator.made("/nodereports"), 2, "each was tried once");
}

fn refuses_one_intent(asked: &Asked) -> Script {
    let is_intent = asked.method == Method::POST && asked.path.ends_with("/nodeintents");
    if is_intent && asked.body.contains("\"name\":\"n1\"") {
        return Script::Says(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
    }
    Script::Usual
}

#[tokio::test]
async fn an_intent_that_is_refused_keeps_no_other_node_waiting() {
    let mut operator = operator(&["n1", "n2"], refuses_one_intent);
    let outcome = operator.first_run().await;
    assert!(
        matches!(outcome, Outcome::Partly { intents: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(operator.made("/nodeintents"), 3, "the shared one too");
    assert_eq!(operator.made("/nodereports"), 2, "the chores are done too");
}

fn is_cluster_write(asked: &Asked) -> bool {
    let is_intent = asked.method == Method::POST && asked.path.ends_with("/nodeintents");
    is_intent && asked.body.contains(CLUSTER_INTENT)
}

#[tokio::test]
async fn no_intent_that_names_a_refused_cluster_document_is_written() {
    let refuses = |asked: &Asked| match is_cluster_write(asked) {
        true => Script::Says(StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
        false => Script::Usual,
    };
    let mut operator = operator(&["n1", "n2"], refuses);
    let outcome = operator.first_run().await;
    assert!(
        matches!(outcome, Outcome::Partly { intents: 1, .. }),
        "{outcome:?}"
    );
    assert_eq!(operator.made("/nodeintents"), 1, "the shared one alone");
    assert_eq!(operator.made("/nodereports"), 2, "the chores are done");
}

#[tokio::test]
async fn a_cluster_document_that_was_stored_without_an_answer_is_known_before_the_next_decision() {
    let stored = Arc::new(Mutex::new(None));
    let stores = move |asked: &Asked| {
        let mut stored = stored.lock().unwrap();
        if is_cluster_write(asked) {
            let mut object: Value = serde_json::from_str(&asked.body).unwrap();
            object["metadata"]["resourceVersion"] = json!("20");
            *stored = Some(object);
            return Script::Says(StatusCode::GATEWAY_TIMEOUT, "Timeout");
        }
        match &*stored {
            Some(object) if asked.path.ends_with(CLUSTER_INTENT) => Script::Shows(object.clone()),
            _ => Script::Usual,
        }
    };
    let mut operator = operator(&["n1"], stores);
    let first = operator.first_run().await;
    assert!(matches!(first, Outcome::Partly { .. }), "{first:?}");
    assert_eq!(
        operator.pipeline.run().await.unwrap(),
        Outcome::Idle(IdleReason::Lagging),
        "what is stored is this operator's own, and the watch will show it"
    );
    assert_eq!(operator.made("/nodeintents"), 1, "it is not written again");
}

#[tokio::test]
async fn an_unanswered_write_of_one_node_that_cannot_be_read_ends_no_run() {
    let fails = |asked: &Asked| {
        let is_write = asked.method == Method::POST && asked.path.ends_with("/nodeintents");
        let is_of_n1 = is_write && asked.body.contains("\"name\":\"n1\"");
        match is_of_n1 || asked.path.ends_with("/nodeintents/n1") {
            true => Script::Says(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            false => Script::Usual,
        }
    };
    let mut operator = operator(&["n1", "n2"], fails);
    let first = operator.first_run().await;
    assert!(matches!(first, Outcome::Partly { .. }), "{first:?}");
    let second = operator.pipeline.run().await;
    assert!(second.is_ok(), "{second:?}");
    assert!(operator.was_asked("/nodeintents/n1"));
}

fn has_no_service_cidr(asked: &Asked) -> Script {
    if asked.path.ends_with("/servicecidrs") {
        return Script::Says(StatusCode::NOT_FOUND, "NotFound");
    }
    Script::Usual
}

#[tokio::test]
async fn a_cluster_before_kubernetes_1_33_is_served_with_the_ranges_of_the_settings() {
    let mut operator = operator(&["n1"], has_no_service_cidr);
    assert_eq!(operator.first_run().await, Outcome::Done);
    assert_eq!(operator.made("/nodeintents"), 2, "the shared one too");
}

/// A watch of the definition that shows a change and ends, again and again.
fn redefines_policies(asked: &Asked) -> Script {
    if !asked.path.ends_with("/customresourcedefinitions") || !asked.query.contains("watch=true") {
        return Script::Usual;
    }
    Script::Shows(json!({"type": "MODIFIED", "object": {
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "egresspolicies.postern.dev", "uid": "d", "generation": 2, "resourceVersion": "11"},
    }}))
}

#[tokio::test]
async fn policies_are_listed_again_when_their_definition_has_changed() {
    let mut operator = operator(&["n1"], redefines_policies);
    operator.first_run().await;
    let again = async {
        while operator.listed("/egresspolicies") < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again)
        .await
        .expect("a watch through the change may have shown too few fields");
    assert_eq!(
        operator.listed("/exitnodes"),
        1,
        "of other kinds nothing changed"
    );
}

fn has_no_isolations(asked: &Asked) -> Script {
    if asked.path.ends_with("/interfaceisolations") {
        return Script::Says(StatusCode::FORBIDDEN, "Forbidden");
    }
    Script::Usual
}

#[tokio::test]
async fn a_watch_of_a_kind_that_decides_nothing_may_fail_for_ever() {
    let mut operator = operator(&["n1"], has_no_isolations);
    assert_eq!(operator.first_run().await, Outcome::Done);
    assert_eq!(operator.made("/nodeintents"), 2, "the shared one too");
}

fn never_takes_a_status(asked: &Asked) -> Script {
    if asked.path.ends_with("/status") {
        return Script::Silent;
    }
    Script::Usual
}

#[tokio::test]
async fn no_intent_waits_for_a_status() {
    let mut operator = operator(&["n1"], never_takes_a_status);
    let run = tokio::time::timeout(Duration::from_secs(5), operator.first_run());
    assert_eq!(run.await.expect("the run waits for nothing"), Outcome::Done);
    assert_eq!(operator.made("/nodeintents"), 2, "the shared one too");
    let asked = async {
        while !operator.was_asked("/egresspolicies/p/status") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
    asked.expect("the status is written beside the run");
}
