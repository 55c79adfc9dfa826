//! Each write asks whether this process leads before it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use postern_compile::publish::DocumentChange;
use postern_crds::{NodeIntent, NodeIntentSpec};
use postern_intent::{NodeDocument, NodeName};
use postern_operator::lease::EPOCH_ANNOTATION;
use postern_operator::metrics::OperatorMetrics;
use postern_operator::pipeline::intents::KnownIntents;
use postern_operator::pipeline::publish::{
    ObjectCleanup, PlannedWrite, TrustRootWrite, WriteAttempt, WriteMethod, Writer, clean_up,
    keep_trust, publish_intents,
};
use serde_json::json;

use crate::server;

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
    let (client, log) = server::server(server::echo);
    let (writer, leading) = server::writer(client);
    leading.end();
    for shown in [None, Some(edited())] {
        let kept = keep_trust(&writer, "postern-system", shown.as_ref(), trust()).await;
        assert_eq!(kept.tally().late, 1, "{kept:?}");
    }
    assert_eq!(*log.lock().unwrap(), []);
}

#[tokio::test]
async fn the_leader_puts_the_trust_root_right() {
    let (client, log) = server::server(server::echo);
    let (writer, _leading) = server::writer(client);
    let kept = keep_trust(&writer, "postern-system", Some(&edited()), trust()).await;
    assert!(
        matches!(kept, TrustRootWrite::Mended(WriteAttempt::Written(_))),
        "{kept:?}"
    );
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
    serde_json::from_value(document).unwrap()
}

/// An intent in the place of one that cannot be replaced.
fn anew() -> PlannedWrite {
    PlannedWrite {
        node: node(),
        document: Arc::new(body()),
        object: NodeIntent::new("n1", NodeIntentSpec::default()),
        method: WriteMethod::Anew {
            uid: Some("o1".to_owned()),
            version: Some("7".to_owned()),
        },
        change: DocumentChange::Republished,
    }
}

/// What the API server answers to a deletion.
const GONE: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Success","code":200}"#;

fn methods(log: &server::Log) -> Vec<Method> {
    let log = log.lock().unwrap();
    log.iter().map(|asked| asked.method.clone()).collect()
}

#[tokio::test]
async fn an_intent_that_cannot_be_replaced_is_deleted_and_made() {
    let (client, log) = server::server(|asked| match asked.method {
        Method::DELETE => Some((StatusCode::OK, GONE.to_owned())),
        _ => server::echo(asked),
    });
    let (writer, _leading) = server::writer(client);
    let tally = publish_intents(&writer, vec![anew()], &mut KnownIntents::default()).await;
    assert_eq!(methods(&log), [Method::DELETE, Method::POST]);
    assert_eq!((tally.written, tally.late), (1, 0));
}

#[tokio::test]
async fn an_intent_is_not_made_when_the_term_ended_while_the_old_one_was_deleted() {
    let (leading, term) = server::lasting();
    let (client, log) = server::server(move |asked| match asked.method {
        Method::DELETE => {
            leading.end();
            Some((StatusCode::OK, GONE.to_owned()))
        }
        _ => server::echo(asked),
    });
    let writer = Writer::new(client, term, OperatorMetrics::default());
    let tally = publish_intents(&writer, vec![anew()], &mut KnownIntents::default()).await;
    assert_eq!(methods(&log), [Method::DELETE]);
    assert_eq!((tally.written, tally.late), (0, 1));
}

/// An intent in the place of what was seen in version 7, under the epoch 1.
fn replaced() -> PlannedWrite {
    let mut object = NodeIntent::new("n1", NodeIntentSpec::default());
    object.metadata.uid = Some("o1".to_owned());
    object.metadata.resource_version = Some("7".to_owned());
    object.metadata.annotations = Some([(EPOCH_ANNOTATION.to_owned(), "1".to_owned())].into());
    PlannedWrite {
        object,
        method: WriteMethod::Replace {
            generation: Some(3),
        },
        ..anew()
    }
}

/// A server with the object in version 8, of this generation and under this epoch.
fn with_version_8(asked: &server::Asked, generation: i64, epoch: &str) -> server::Answer {
    let is_old = asked.body.contains(r#""resourceVersion":"7""#);
    match asked.method {
        Method::GET => {
            let there = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {
                    "name": "n1", "uid": "o1", "resourceVersion": "8", "generation": generation,
                    "annotations": {EPOCH_ANNOTATION: epoch},
                },
            });
            Some((StatusCode::OK, there.to_string()))
        }
        Method::PUT if is_old => {
            let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}"#;
            Some((StatusCode::CONFLICT, status.to_owned()))
        }
        _ => server::echo(asked),
    }
}

#[tokio::test]
async fn a_status_that_was_written_in_between_keeps_no_intent_waiting() {
    let (client, log) = server::server(|asked| with_version_8(asked, 3, "1"));
    let (writer, _leading) = server::writer(client);
    let tally = publish_intents(&writer, vec![replaced()], &mut KnownIntents::default()).await;
    assert_eq!(methods(&log), [Method::PUT, Method::GET, Method::PUT]);
    assert_eq!(tally.written, 1, "{tally:?}");
    assert!(!tally.is_incomplete(), "{tally:?}");
}

#[tokio::test]
async fn an_intent_that_another_writer_changed_is_looked_at_again_before_it_is_written() {
    for (generation, epoch) in [(4, "1"), (3, "2")] {
        let (client, log) = server::server(move |asked| with_version_8(asked, generation, epoch));
        let (writer, _leading) = server::writer(client);
        let tally = publish_intents(&writer, vec![replaced()], &mut KnownIntents::default()).await;
        assert_eq!(methods(&log), [Method::PUT, Method::GET]);
        assert_eq!((tally.written, tally.stale), (0, 1), "{tally:?}");
    }
}

#[tokio::test]
async fn an_intent_is_not_tried_again_when_the_term_ended_while_its_version_was_read() {
    let (leading, term) = server::lasting();
    let (client, log) = server::server(move |asked| {
        if asked.method == Method::GET {
            leading.end();
        }
        with_version_8(asked, 3, "1")
    });
    let writer = Writer::new(client, term, OperatorMetrics::default());
    let tally = publish_intents(&writer, vec![replaced()], &mut KnownIntents::default()).await;
    assert_eq!(methods(&log), [Method::PUT, Method::GET]);
    assert_eq!((tally.written, tally.late), (0, 1));
}

#[tokio::test]
async fn an_object_that_is_refused_is_left_alone_for_a_while() {
    let (client, log) = server::server(|asked| {
        let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}"#;
        if asked.body.contains("refused") {
            Some((StatusCode::FORBIDDEN, status.to_owned()))
        } else {
            server::echo(asked)
        }
    });
    let (writer, _leading) = server::writer(client);
    let make = |name: &str| ObjectCleanup {
        make: vec![(name.to_owned(), "u1".to_owned())],
        ..ObjectCleanup::default()
    };
    assert_eq!(clean_up(&writer, make("refused")).await.refused, 1);
    assert_eq!(clean_up(&writer, make("refused")).await.backing_off, 1);
    assert_eq!(methods(&log).len(), 1, "it is not sent again");
    assert_eq!(clean_up(&writer, make("other")).await.written, 1);
    let retry = writer.next_retry(Instant::now());
    assert!(retry.is_some(), "it is tried again");
    assert_eq!(writer.metrics.backing_off.get(), 1);
}
