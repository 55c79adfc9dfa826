//! Each write asks whether this process leads before it is sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

mod api;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use postern_crds::{NodeIntent, NodeIntentSpec};
use postern_intent::body::Cluster;
use postern_intent::{Body, NodeName};
use postern_operator::metrics::Metrics;
use postern_operator::pipeline::PipelineError;
use postern_operator::pipeline::intents::Intents;
use postern_operator::pipeline::publish::{
    Change, Planned, Trusted, WriteMethod, Writer, keep_trust,
};

fn trust() -> BTreeMap<String, String> {
    [("a.pem".to_owned(), "a key".to_owned())].into()
}

fn edited() -> ConfigMap {
    ConfigMap {
        data: Some([("b.pem".to_owned(), "another key".to_owned())].into()),
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn who_does_not_lead_leaves_the_trust_root_alone() {
    let (client, log) = api::server(api::echo);
    let (writer, leading) = api::writer(client);
    leading.end();
    for shown in [None, Some(edited())] {
        let kept = keep_trust(&writer, "postern-system", shown.as_ref(), trust()).await;
        assert!(matches!(kept, Err(PipelineError::NotLeading)), "{kept:?}");
    }
    assert_eq!(*log.lock().unwrap(), []);
}

#[tokio::test]
async fn the_leader_puts_the_trust_root_right() {
    let (client, log) = api::server(api::echo);
    let (writer, _leading) = api::writer(client);
    let kept = keep_trust(&writer, "postern-system", Some(&edited()), trust()).await;
    assert_eq!(kept.unwrap(), Trusted::Mended);
    let log = log.lock().unwrap();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].method, Method::PUT);
    assert!(
        log[0].path.ends_with("/configmaps/postern-trust"),
        "{log:?}"
    );
}

fn node() -> NodeName {
    "n1".parse().unwrap()
}

fn body() -> Body {
    let document = serde_json::json!({
        "node": { "name": "n1", "uid": "u1" },
        "serial": 5,
        "issuedAt": "2026-01-01T00:00:00Z",
        "notAfter": "2026-01-02T00:00:00Z",
        "guardedNamespaces": [],
        "cluster": Cluster::default(),
        "tunnels": [],
        "routes": [],
        "nat": [],
        "firewall": [],
        "dns": [],
        "pods": [],
    });
    serde_json::from_value(document).unwrap()
}

/// An intent in the place of one that cannot be replaced.
fn anew() -> Planned {
    Planned {
        node: node(),
        body: Arc::new(body()),
        object: NodeIntent::new("n1", NodeIntentSpec::default()),
        way: WriteMethod::Anew {
            uid: Some("o1".to_owned()),
            version: Some("7".to_owned()),
        },
        change: Change::Republished,
    }
}

/// What the API server answers to a deletion.
const GONE: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Success","code":200}"#;

fn methods(log: &api::Log) -> Vec<Method> {
    let log = log.lock().unwrap();
    log.iter().map(|asked| asked.method.clone()).collect()
}

#[tokio::test]
async fn an_intent_that_cannot_be_replaced_is_deleted_and_made() {
    let (client, log) = api::server(|asked| match asked.method {
        Method::DELETE => Some((StatusCode::OK, GONE.to_owned())),
        _ => api::echo(asked),
    });
    let (writer, _leading) = api::writer(client);
    let tally = writer.publish(vec![anew()], &mut Intents::default()).await;
    assert_eq!(methods(&log), [Method::DELETE, Method::POST]);
    assert_eq!((tally.written, tally.late), (1, 0));
}

#[tokio::test]
async fn an_intent_is_not_made_when_the_term_ended_while_the_old_one_was_deleted() {
    let (leading, term) = api::lasting();
    let (client, log) = api::server(move |asked| match asked.method {
        Method::DELETE => {
            leading.end();
            Some((StatusCode::OK, GONE.to_owned()))
        }
        _ => api::echo(asked),
    });
    let writer = Writer {
        client,
        term,
        metrics: Metrics::default(),
    };
    let tally = writer.publish(vec![anew()], &mut Intents::default()).await;
    assert_eq!(methods(&log), [Method::DELETE]);
    assert_eq!((tally.written, tally.late), (0, 1));
}
