//! A node's intent and the document that all nodes read: what is in force while one of them is missing, older or newer.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::Activation;
use postern_agent::agent::intake::Taken;
use postern_agent::inbox::DocumentKind;
use postern_crds::conditions::Reason;
use postern_host_testing::fake::FakeHost;
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::{sign_cluster, sign_intent, sign_key_set};
use postern_intent::{Body, ClusterDocument, NodeDocument, Serial};

use postern_plan::desired::LEASE;
use postern_plan::observed::ObservedFirewall;

use crate::fixture::{client, word};
use crate::next;
use crate::node::{Node, signer};

/// The two documents of a body, issued now.
fn documents(body: Body) -> (NodeDocument, ClusterDocument) {
    let now = Timestamp::now();
    let body = Body {
        issued_at: now,
        not_after: now + SignedDuration::from_hours(1),
        ..body
    };
    body.documents()
}

fn offers_intent(node: &mut Node, intent: &NodeDocument) -> Taken {
    node.puts(
        DocumentKind::Intent,
        &sign_intent(intent, &[signer()]).unwrap(),
    );
    node.agent.take_documents()
}

fn offers_cluster(node: &mut Node, cluster: &ClusterDocument) -> Taken {
    node.puts(
        DocumentKind::Cluster,
        &sign_cluster(cluster, &[signer()]).unwrap(),
    );
    node.agent.take_documents()
}

/// The serials of what is in force: the intent's and the cluster document's.
fn in_force(node: &Node) -> (u64, u64) {
    let verified = node.agent.documents.verified.as_ref().expect("a body");
    (verified.get().serial.0, verified.get().cluster_serial.0)
}

async fn with_a_body() -> (Node, Body) {
    let mut node = Node::new();
    let body = client();
    node.takes(body.clone()).await;
    assert_eq!(in_force(&node), (1, 1));
    (node, body)
}

#[tokio::test]
async fn an_intent_waits_for_the_cluster_document_that_it_needs_and_the_body_before_stays() {
    let (mut node, body) = with_a_body().await;
    let (intent, cluster) = documents(next(&body, |_| {}));
    assert_eq!(offers_intent(&mut node, &intent), Taken::Nothing);
    assert_eq!(in_force(&node), (1, 1));
    node.runs(Activation::Timer).await;
    let report = node.reports("Accepted", "False", "ClusterAwaited");
    assert_eq!(report.applied_serial, Some(1));

    assert_eq!(offers_cluster(&mut node, &cluster), Taken::New);
    assert_eq!(in_force(&node), (2, 2));
    node.runs(Activation::IntentChanged).await;
    let report = node.reports("Accepted", "True", "Accepted");
    assert_eq!(
        (report.applied_serial, report.applied_cluster_serial),
        (Some(2), Some(2))
    );
}

#[tokio::test]
async fn a_newer_cluster_document_alone_is_joined_with_the_intent_that_is_in_force() {
    let (mut node, body) = with_a_body().await;
    let (_, mut cluster) = documents(next(&body, |_| {}));
    cluster.follows = Serial(1);
    cluster.guarded_namespaces = [word("quarantine")].into();
    assert_eq!(offers_cluster(&mut node, &cluster), Taken::Facts);
    assert_eq!(in_force(&node), (1, 2));
    let guarded = &node
        .agent
        .documents
        .verified
        .as_ref()
        .unwrap()
        .get()
        .guarded_namespaces;
    assert_eq!(*guarded, cluster.guarded_namespaces);
}

#[tokio::test]
async fn a_cluster_document_of_after_a_restore_is_not_joined_with_an_intent_of_before() {
    let (mut node, body) = with_a_body().await;
    let (intent, cluster) = documents(next(&body, |body| body.guarded_namespaces.clear()));
    assert_eq!(cluster.follows, Serial(2));
    assert_eq!(offers_cluster(&mut node, &cluster), Taken::Nothing);
    assert_eq!(in_force(&node), (1, 1));
    node.runs(Activation::Timer).await;
    node.reports("Accepted", "False", Reason::FormerLineage.as_str());

    assert_eq!(offers_intent(&mut node, &intent), Taken::New);
    assert_eq!(in_force(&node), (2, 2));
}

#[tokio::test]
async fn an_agent_whose_source_has_nothing_has_both_documents_from_the_ledger() {
    let (node, _) = with_a_body().await;
    for document in [DocumentKind::Intent, DocumentKind::Cluster] {
        node.removes(document);
    }
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(in_force(&node), (1, 1));
    assert_eq!(
        node.agent
            .documents
            .verified
            .as_ref()
            .unwrap()
            .get()
            .guarded_namespaces,
        client().guarded_namespaces
    );
}

#[tokio::test]
async fn a_cluster_document_ends_no_release_by_root_and_is_in_force_when_root_ends_it() {
    let (mut node, body) = with_a_body().await;
    node.agent.release_by_root("a case").unwrap();
    node.runs(Activation::Asked).await;
    let (_, mut cluster) = documents(next(&body, |_| {}));
    cluster.follows = Serial(1);
    assert_eq!(offers_cluster(&mut node, &cluster), Taken::Nothing);
    assert!(node.agent.is_released());
    node.agent.claim().unwrap();
    assert!(!node.agent.is_released());
    assert_eq!(in_force(&node), (1, 2));
}

/// A node that was away: its rules are gone, and its ledger has a body.
async fn after_a_boot() -> (Node, Body) {
    let (node, body) = with_a_body().await;
    node.host
        .edits_the_firewall(|firewall| *firewall = ObservedFirewall::default());
    let node = node.restarts();
    assert!(!leased(&node.host));
    (node, body)
}

fn leased(host: &FakeHost) -> bool {
    let mut found = false;
    host.edits_the_firewall(|firewall| {
        let lease = firewall
            .inet
            .as_ref()
            .and_then(|table| table.sets.get(LEASE));
        found = lease.is_some_and(|set| !set.elements.is_empty());
    });
    found
}

#[tokio::test]
async fn after_a_boot_no_exit_opens_before_a_newer_intent_was_looked_for_whatever_else_comes() {
    let (mut node, body) = after_a_boot().await;
    let (intent, cluster) = documents(next(&body, |_| {}));
    let mut facts = cluster.clone();
    facts.follows = Serial(1);
    node.removes(DocumentKind::Intent);
    node.puts(
        DocumentKind::Cluster,
        &sign_cluster(&facts, &[signer()]).unwrap(),
    );
    let intent = serde_json::to_vec(&sign_intent(&intent, &[signer()]).unwrap()).unwrap();
    let (host, documents) = (node.host.clone(), node.documents.clone());
    // The facts are there at once, and the intent comes half a second later.
    let source = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        let early = leased(&host);
        documents.send_modify(|documents| drop(documents.insert(DocumentKind::Intent, intent)));
        early
    });
    node.starts_looking(Duration::from_secs(20)).await;
    assert!(!source.join().unwrap(), "an exit was open before");
    assert_eq!(in_force(&node), (2, 2));
    assert!(leased(&node.host));
}

#[tokio::test]
async fn after_a_boot_exits_open_by_the_ledger_once_the_look_is_over() {
    let (mut node, _) = after_a_boot().await;
    node.removes(DocumentKind::Intent);
    let begin = Instant::now();
    node.starts_looking(Duration::from_millis(300)).await;
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(in_force(&node), (1, 1));
    assert!(leased(&node.host));
}

#[tokio::test]
async fn an_intent_that_waited_while_its_key_was_dropped_does_not_come_into_force() {
    let (mut node, body) = with_a_body().await;
    let (intent, cluster) = documents(next(&body, |_| {}));
    assert_eq!(offers_intent(&mut node, &intent), Taken::Nothing);
    let successor = SigningKey::from_bytes(&[6; 32]);
    let keys = KeySetDocument {
        version: 1,
        keys: vec![STANDARD.encode(successor.verifying_key())],
    };
    node.puts(
        DocumentKind::Keys,
        &sign_key_set(&keys, &[signer()]).unwrap(),
    );
    node.puts(
        DocumentKind::Cluster,
        &sign_cluster(&cluster, &[successor]).unwrap(),
    );
    node.removes(DocumentKind::Intent);
    assert_eq!(node.agent.take_documents(), Taken::Nothing);
    assert_eq!(in_force(&node), (1, 1));
}

#[tokio::test]
async fn newer_facts_have_lines_of_their_own_in_the_audit_log() {
    let (mut node, body) = with_a_body().await;
    let (_, mut cluster) = documents(next(&body, |_| {}));
    cluster.follows = Serial(1);
    assert_eq!(offers_cluster(&mut node, &cluster), Taken::Facts);
    node.runs(Activation::IntentChanged).await;
    let entries = node.agent.memory.ledger.entries();
    assert_eq!(entries.applied_cluster_serial, Serial(2));
}

#[tokio::test]
async fn a_refused_document_is_told_once_while_its_counterpart_is_joined_with_what_is_in_force() {
    let (mut node, body) = with_a_body().await;
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let (intent, mut cluster) = documents(next(&body, |_| {}));
    cluster.follows = Serial(1);
    node.puts(
        DocumentKind::Intent,
        &sign_intent(&intent, &[stranger]).unwrap(),
    );
    assert_eq!(node.agent.take_documents(), Taken::Nothing);
    assert_eq!(offers_cluster(&mut node, &cluster), Taken::Facts);
    assert_eq!(node.agent.take_documents(), Taken::Nothing);
    node.runs(Activation::IntentChanged).await;
    let report = node.reports("Accepted", "False", "UnknownKey");
    assert_eq!(report.refusals.len(), 1);
    assert_eq!(in_force(&node), (1, 2));
}

#[tokio::test]
async fn an_older_cluster_document_is_refused_and_what_is_in_force_stays() {
    let (mut node, body) = with_a_body().await;
    let (_, older) = documents(body.clone());
    let (intent, cluster) = documents(next(&body, |_| {}));
    assert_eq!(offers_cluster(&mut node, &cluster), Taken::Nothing);
    assert_eq!(offers_intent(&mut node, &intent), Taken::New);
    node.runs(Activation::IntentChanged).await;
    assert_eq!(offers_cluster(&mut node, &older), Taken::Nothing);
    assert_eq!(in_force(&node), (2, 2));
    node.runs(Activation::Timer).await;
    node.reports("Accepted", "False", "Replayed");
}
