//! Reports: what is applied, when, and to whose object.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fake::{Fake, Fault, Verb};
use crate::node::{Node, spec, status, until};

/// Versions in the order in which they were applied.
fn applied(fake: &Fake) -> Vec<String> {
    let requests = fake.requests(Verb::Patch);
    let versions = requests
        .iter()
        .map(|request| &request.body["status"]["agentVersion"]);
    versions
        .map(|version| version.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_status_and_nothing_else_is_applied_by_the_agents_field_manager() {
    let fake = Fake::started().await;
    fake.put_report("u1");
    let node = Node::started(&fake);
    node.publish_report("first");
    until("it was applied", || applied(&fake) == ["first"]).await;
    let request = fake.requests(Verb::Patch).remove(0);
    assert!(
        request.query.contains("fieldManager=postern-agent"),
        "{}",
        request.query
    );
    assert!(request.query.contains("force=true"), "{}", request.query);
    let mut status = status("first");
    status["conditions"][0]["observedGeneration"] = json!(3);
    let wanted = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": "n1"}, "status": status});
    assert_eq!(request.body, wanted);
}

#[tokio::test]
async fn changes_are_applied_at_most_once_a_second_and_the_last_one_always() {
    let fake = Fake::started().await;
    fake.put_report("u1");
    let node = Node::started(&fake);
    for number in 0..30 {
        node.publish_report(&number.to_string());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("the last one was applied", || {
        applied(&fake).last().is_some_and(|last| last == "29")
    })
    .await;
    let times: Vec<_> = fake
        .requests(Verb::Patch)
        .iter()
        .map(|request| request.at)
        .collect();
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart >= Duration::from_millis(950), "{apart:?}");
    }
}

#[tokio::test]
async fn an_object_that_nobody_has_made_yet_is_waited_for_and_never_made() {
    let fake = Fake::started().await;
    let node = Node::started(&fake);
    node.publish_report("first");
    until("it was asked for", || fake.requests(Verb::Get).len() > 1).await;
    assert!(applied(&fake).is_empty());
    fake.put_report("u1");
    until("it was applied", || applied(&fake) == ["first"]).await;
}

#[tokio::test]
async fn the_report_of_an_older_node_of_the_same_name_is_left_alone() {
    let fake = Fake::started().await;
    fake.put_report("older");
    let node = Node::started(&fake);
    node.publish_report("first");
    until("it was seen", || {
        node.metrics.failures("reports", "other_node") > 1
    })
    .await;
    assert!(applied(&fake).is_empty());
    fake.put_report("u1");
    until("it was applied", || applied(&fake) == ["first"]).await;
}

#[tokio::test]
async fn every_kind_of_failing_answer_is_survived() {
    let halves: [(&[u16], &[u16]); 3] = [
        (&[500, 429], &[]),
        (&[], &[500, 503, 404]),
        (&[], &[409, 401, 410]),
    ];
    let halves = halves.map(|(get, patch)| async move {
        let fake = Fake::started().await;
        fake.put_report("u1");
        fake.fail(Verb::Get, get.iter().map(|code| Fault::Code(*code)));
        fake.fail(Verb::Patch, patch.iter().map(|code| Fault::Code(*code)));
        let node = Node::started(&fake);
        node.publish_report("first");
        until("all failed once and then it was applied", || {
            applied(&fake).len() == patch.len() + 1
        })
        .await;
        for code in get.iter().chain(patch) {
            let failures = node.metrics.failures("reports", &code.to_string());
            assert_eq!(failures, 1, "{code}");
        }
    });
    futures::future::join_all(halves).await;
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_again_when_the_old_one_is_refused() {
    let fake = Fake::started().await;
    fake.put_report("u1");
    fake.change_intent("n1", &spec("first"));
    let next = crate::node::token("u1", "b");
    fake.know(&next);
    let node = Node::started(&fake);
    node.publish_report("first");
    for health in ["reports", "intents"] {
        until("it was refused", || {
            node.metrics.failures(health, "401") > 0
        })
        .await;
    }
    std::fs::write(node.folder.path().join("token"), &next).unwrap();
    let replaced = Instant::now();
    until("it was applied", || {
        node.intent().is_some() && applied(&fake).contains(&"first".to_owned())
    })
    .await;
    // The client looks at its file once in 50 s by itself.
    let waited = replaced.elapsed();
    assert!(waited < Duration::from_secs(30), "{waited:?}");
}

#[tokio::test]
async fn a_report_that_gets_no_answer_renews_the_watch_too() {
    let fake = Fake::started().await;
    fake.put_report("u1");
    fake.change_intent("n1", &spec("first"));
    let node = Node::started(&fake);
    until("a watch stands", || !fake.requests(Verb::Watch).is_empty()).await;
    fake.fail(Verb::Patch, [Fault::Silence]);
    node.publish_report("first");
    // The watch hangs on a connection that nobody answers by: it sees no event, and only a new list shows what is new.
    fake.change_intent("n1", &spec("second"));
    node.has_intent("second").await;
    assert_eq!(fake.requests(Verb::List).len(), 2);
}
