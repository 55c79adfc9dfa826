//! Events are told beside the runs.

use std::time::Duration;

use http::{Method, StatusCode};
use postern_operator::metrics::OperatorMetrics;
use postern_operator::pipeline::statuses::{
    EventNotice, EventQueue, EventTarget, EventTone, EventWriter, QUEUE, event_queue,
};
use serde_json::Value;

use crate::server;

fn news(digest: &str) -> EventNotice {
    EventNotice {
        regarding: EventTarget::node("n1"),
        tone: EventTone::Warning,
        reason: "Restored".to_owned(),
        action: "Approve".to_owned(),
        note: format!("approve digest {digest}"),
    }
}

/// `kubectl describe` asks for Events by the UID of what it describes.
#[tokio::test]
async fn an_event_names_its_object_with_the_uid_and_lies_in_its_namespace() {
    let (client, log) = server::server(server::echo);
    let (writer, _leading) = server::writer(client);
    let (events, event_writer) = event_queue(writer, "operator-0");
    let uid = Some("5f0c".to_owned());
    let namespace = Some("crawlers".to_owned());
    events.push(EventNotice {
        regarding: EventTarget::own("EgressPolicy", namespace, "crawler", uid),
        ..news("aaa")
    });
    all(events, event_writer).await;
    let log = log.lock().unwrap();
    assert!(
        log[0].path.contains("/namespaces/crawlers/events"),
        "{:?}",
        log[0]
    );
    let event: Value = serde_json::from_str(&log[0].body).unwrap();
    assert_eq!(event["metadata"]["namespace"], "crawlers");
    let regarding = serde_json::json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy", "namespace": "crawlers", "name": "crawler",
        "uid": "5f0c",
    });
    assert_eq!(event["regarding"], regarding);
}

/// The kubelet's Events about a node carry its name as UID, and so `kubectl describe node` asks for it.
#[tokio::test]
async fn an_event_about_a_node_carries_the_nodes_name_as_uid() {
    let (client, log) = server::server(server::echo);
    let (writer, _leading) = server::writer(client);
    let (events, event_writer) = event_queue(writer, "operator-0");
    events.push(news("aaa"));
    all(events, event_writer).await;
    let log = log.lock().unwrap();
    let event: Value = serde_json::from_str(&log[0].body).unwrap();
    let regarding =
        serde_json::json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1"});
    assert_eq!(event["regarding"], regarding);
}

/// Everything that is told is written, or lost.
async fn all(events: EventQueue, event_writer: EventWriter) {
    drop(events);
    event_writer.write_events().await;
}

fn lost(metrics: &OperatorMetrics) -> u64 {
    metrics.events_lost.get()
}

#[tokio::test]
async fn a_second_hold_is_an_event_of_its_own_and_the_same_news_a_count() {
    let (client, log) = server::server(server::echo);
    let (writer, _leading) = server::writer(client);
    let metrics = writer.metrics.clone();
    let (events, event_writer) = event_queue(writer, "operator-0");
    for digest in ["aaa", "bbb", "bbb"] {
        events.push(news(digest));
    }
    all(events, event_writer).await;
    let log = log.lock().unwrap();
    let methods: Vec<&Method> = log.iter().map(|asked| &asked.method).collect();
    assert_eq!(methods, [&Method::POST, &Method::POST, &Method::PATCH]);
    let second: Value = serde_json::from_str(&log[1].body).unwrap();
    assert_eq!(second["note"], "approve digest bbb");
    let name = second["metadata"]["name"].as_str().unwrap();
    assert!(log[2].path.ends_with(name), "{:?}", log[2]);
    let count: Value = serde_json::from_str(&log[2].body).unwrap();
    assert_eq!(count["series"]["count"], 2);
    assert_eq!(lost(&metrics), 0);
}

#[tokio::test]
async fn who_tells_never_waits_for_an_api_server_that_takes_no_events() {
    let (client, log) = server::server(|_| None);
    let (writer, _leading) = server::writer(client);
    let metrics = writer.metrics.clone();
    let (events, event_writer) = event_queue(writer, "operator-0");
    let event_writer = tokio::spawn(event_writer.write_events());
    events.push(news("first"));
    let under_way = async {
        while log.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let begun = tokio::time::timeout(Duration::from_secs(10), under_way).await;
    begun.expect("the first Event is under way, and never ends");
    for number in 0..QUEUE + 5 {
        events.push(news(&number.to_string()));
    }
    assert_eq!(lost(&metrics), 5);
    assert_eq!(log.lock().unwrap().len(), 1);
    event_writer.abort();
}

#[tokio::test]
async fn an_event_that_was_refused_is_lost_and_the_next_one_is_written_anew() {
    let (client, log) = server::server(|_| Some((StatusCode::FORBIDDEN, "{}".to_owned())));
    let (writer, _leading) = server::writer(client);
    let metrics = writer.metrics.clone();
    let (events, event_writer) = event_queue(writer, "operator-0");
    for _ in 0..2 {
        events.push(news("aaa"));
    }
    all(events, event_writer).await;
    let log = log.lock().unwrap();
    assert!(
        log.iter().all(|asked| asked.method == Method::POST),
        "{log:?}"
    );
    assert_eq!((log.len(), lost(&metrics)), (2, 2));
}

#[tokio::test]
async fn who_does_not_lead_tells_nothing() {
    let (client, log) = server::server(server::echo);
    let (writer, leading) = server::writer(client);
    let metrics = writer.metrics.clone();
    let (events, event_writer) = event_queue(writer, "operator-0");
    events.push(news("aaa"));
    leading.end();
    all(events, event_writer).await;
    assert_eq!((log.lock().unwrap().len(), lost(&metrics)), (0, 1));
}
