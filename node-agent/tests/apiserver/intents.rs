//! Documents: what is brought, and what no answer takes away.

use std::time::Duration;

use postern_agent::agent::NodeUpdate;
use serde_json::json;

use crate::fake::{Fake, Fault, Verb};
use crate::node::{Node, cluster_spec, envelope, spec, until};

#[tokio::test]
async fn the_nodes_own_intent_is_brought_and_each_newer_one_after_it() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.put_intent("n1", &spec("second"));
    node.has_intent("second").await;
    for verb in [Verb::List, Verb::Watch] {
        for request in fake.requests(verb) {
            let selected = request.query.contains("fieldSelector=metadata.name%3Dn1");
            assert!(selected, "{verb:?}: {}", request.query);
        }
    }
    assert!(node.metrics.last_contact() > 0);
}

#[tokio::test]
async fn every_kind_of_failing_answer_is_survived_and_counted() {
    let parts = [
        (Verb::List, [500, 503, 429, 401]),
        (Verb::Watch, [403, 404, 409, 410]),
        (Verb::Watch, [500, 503, 429, 401]),
        (Verb::List, [403, 404, 409, 410]),
    ];
    let parts = parts.map(|(verb, codes)| async move {
        let fake = Fake::started().await;
        fake.fail(verb, codes.map(Fault::Code));
        fake.change_intent("n1", &spec("first"));
        let node = Node::started(&fake);
        node.has_intent("first").await;
        let failed = if verb == Verb::Watch { codes.len() } else { 0 };
        until("a watch stands", || {
            fake.requests(Verb::Watch).len() > failed
        })
        .await;
        fake.put_intent("n1", &spec("second"));
        node.has_intent("second").await;
        for code in codes {
            let failures = node.metrics.failures("intents", &code.to_string());
            assert_eq!(failures, 1, "{verb:?} {code}");
        }
    });
    futures::future::join_all(parts).await;
}

/// The store is set back while a watch stands, the watch ends, and new ones are answered so at first: whatever ended it, a
/// list comes next, and the watch after it begins where the list ended.
async fn listed_anew(faults: &[Fault]) -> Node {
    let fake = Fake::started().await;
    for _ in 0..100 {
        fake.change_intent("n1", &spec("first"));
    }
    let node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.set_back("n1", 7, &spec("older"));
    fake.fail(Verb::Watch, faults.iter().copied());
    fake.cut();
    node.has_intent("older").await;
    until("a watch stands again", || {
        fake.requests(Verb::Watch).len() > 1 + faults.len()
    })
    .await;
    let from = fake.requests(Verb::Watch).pop().unwrap().query;
    assert!(from.ends_with("resourceVersion=7"), "{from}");
    node
}

#[tokio::test]
async fn a_store_that_was_set_back_listed_anew_and_not_watched_from_the_future() {
    listed_anew(&[Fault::Code(503)]).await;
}

#[tokio::test]
async fn a_watch_that_ends_in_peace_is_followed_by_a_list_and_not_by_a_watch_from_the_future() {
    let node = listed_anew(&[]).await;
    assert_eq!(node.metrics.failures("intents", "410"), 0);
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let fake = Fake::started().await;
    fake.fail(Verb::List, [Fault::RetryAfter(429, 3)]);
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    node.has_intent("first").await;
    let lists = fake.requests(Verb::List);
    let waited = lists[1].at - lists[0].at;
    assert!(waited >= Duration::from_millis(2900), "{waited:?}");
}

#[tokio::test]
async fn a_version_that_is_too_old_leads_to_a_new_list() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.change_intent("n1", &spec("second"));
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410});
    fake.event("ERROR", &gone);
    node.has_intent("second").await;
    assert_eq!(fake.requests(Verb::List).len(), 2);
}

#[tokio::test]
async fn what_changed_while_the_watch_was_cut_is_brought() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.fail(Verb::Watch, [500, 500, 503].map(Fault::Code));
    fake.change_intent("n1", &spec("second"));
    fake.cut();
    node.has_intent("second").await;
}

#[tokio::test]
async fn an_intent_that_nobody_can_read_ends_no_watch() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    for poison in [
        json!({"envelope": 7}),
        json!({"serial": "high", "envelope": {"payload": [1, 2], "signatures": "none"}}),
        json!(null),
        json!({"keySet": {"envelope": {}}}),
    ] {
        fake.put_intent("n1", &poison);
    }
    let garbled = json!({"metadata": "no object"});
    fake.event("MODIFIED", &garbled);
    fake.put_intent("n1", &spec("second"));
    node.has_intent("second").await;
    // What is no object at all ended the watch: a list came next.
    assert!(fake.requests(Verb::List).len() <= 2);
}

#[tokio::test]
async fn a_deleted_intent_takes_nothing_away_and_is_told() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.delete_intent();
    until("it is told", || node.metrics.is_gone()).await;
    assert_eq!(node.intent(), Some(json!("first")));
    fake.put_intent("n1", &spec("second"));
    node.has_intent("second").await;
    assert!(!node.metrics.is_gone());
}

#[tokio::test]
async fn a_node_without_an_intent_is_told_and_waits() {
    let fake = Fake::started().await;
    let node = Node::started(&fake);
    until("it is told", || node.metrics.is_gone()).await;
    assert_eq!(node.intent(), None);
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.put_intent("n1", &spec("first"));
    node.has_intent("first").await;
}

#[tokio::test]
async fn another_nodes_intent_is_not_taken_from_a_server_that_shows_it() {
    let fake = Fake::started().await;
    fake.change_intent("n2", &spec("others"));
    let node = Node::started(&fake);
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    assert!(node.metrics.is_gone());
    fake.put_intent("n2", &spec("others"));
    fake.put_intent("n1", &spec("ours"));
    node.has_intent("ours").await;
}

#[tokio::test]
async fn keys_and_release_have_files_of_their_own() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    let mut release = envelope("release");
    release["payloadType"] = json!("application/vnd.postern.dev.release.v1+json");
    let keys = json!({"version": 1, "envelope": envelope("keys")});
    let both = json!({"nodeUID": "u1", "serial": 2, "envelope": release, "keySet": keys});
    fake.put_intent("n1", &both);
    until("the release is alone", || {
        node.document("release.dsse.json").exists() && node.intent().is_none()
    })
    .await;
    assert!(node.document("keys.dsse.json").exists());
}

#[tokio::test]
async fn the_document_for_all_nodes_is_brought_beside_the_nodes_own() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("own"));
    fake.change_shared(&cluster_spec("first"));
    let node = Node::started(&fake);
    node.has_intent("own").await;
    node.has_cluster("first").await;
    until("a watch stands", || {
        !fake.requests(Verb::SharedWatch).is_empty()
    })
    .await;
    fake.put_shared(&cluster_spec("second"));
    node.has_cluster("second").await;
    assert_eq!(node.intent(), Some(json!("own")));

    fake.fail(Verb::SharedList, [500, 403].map(Fault::Code));
    fake.delete_shared();
    fake.cut();
    until("its failures are counted", || {
        node.metrics.failures("cluster", "403") == 1
    })
    .await;
    node.has_cluster("second").await;
    assert!(!node.metrics.is_gone(), "the node's own is there");
    fake.put_intent("n1", &spec("newer"));
    node.has_intent("newer").await;
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_found_when_it_comes() {
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fake = Fake::new(place.local_addr().unwrap());
    drop(place);
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    until("it was tried", || {
        node.metrics.failures("intents", "unheard") > 1
    })
    .await;
    assert_eq!(node.metrics.last_contact(), 0);
    fake.serve(tokio::net::TcpListener::bind(fake.address).await.unwrap());
    node.has_intent("first").await;
    assert!(node.metrics.last_contact() > 0);
}

#[tokio::test]
async fn a_kubeconfig_that_comes_late_is_read_when_it_is_there() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let (folder, options) = Node::prepared(&fake);
    let path = folder.path().join("kubeconfig");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "no kubeconfig").unwrap();
    let node = Node::with(folder, options);
    until("it was tried", || {
        node.metrics.failures("intents", "kubeconfig") > 0
    })
    .await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, text).unwrap();
    node.has_intent("first").await;
}

#[tokio::test]
async fn a_kubeconfig_that_starts_a_program_is_refused() {
    let fake = Fake::started().await;
    let (folder, options) = Node::prepared(&fake);
    let path = folder.path().join("kubeconfig");
    let text = std::fs::read_to_string(&path).unwrap();
    let marker = folder.path().join("started");
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["users"][0]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1",
        "command": "touch", "args": [marker], "interactiveMode": "Never"}});
    std::fs::write(&path, config.to_string()).unwrap();
    let node = Node::with(folder, options);
    until("it was refused", || {
        node.metrics.failures("intents", "kubeconfig") > 0
    })
    .await;
    assert!(!marker.exists(), "the program ran");
    assert!(fake.requests(Verb::List).is_empty());
}

#[tokio::test]
async fn a_new_term_of_the_operator_asks_for_a_word_once() {
    let fake = Fake::started().await;
    fake.change_intent("n1", &spec("first"));
    let mut node = Node::started(&fake);
    node.has_intent("first").await;
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.stamp_intent("7");
    // The token is looked at too, and says nothing new here.
    let mut asked = 0;
    until("the agent is asked", || {
        if let Ok(NodeUpdate::Asked) = node.updates.try_recv() {
            asked += 1;
        }
        asked > 0
    })
    .await;
    fake.stamp_intent("7");
    fake.put_intent("n1", &spec("second"));
    node.has_intent("second").await;
    assert!(!matches!(node.updates.try_recv(), Ok(NodeUpdate::Asked)));
    fake.stamp_intent("8");
    until("the agent is asked again", || {
        matches!(node.updates.try_recv(), Ok(NodeUpdate::Asked))
    })
    .await;
}
