//! Being absent from a list releases nobody: who was guarded is remembered, durably and before another body is in force.

use std::fs;
use std::time::Duration;

use postern_agent::agent::Activation;
use postern_agent::agent::intake::Taken;
use postern_agent::inbox::DocumentKind;
use postern_agent::options::Plugin;
use postern_cni::protocol::CniResponse;
use postern_crds::node_report::NodeReportStatus;
use postern_host::ports::Firewall as _;
use postern_host_testing::patience::Patience;
use postern_intent::body::Class;
use postern_intent::{Address, Body};
use postern_plan::desired::AddressClass;

use crate::fixture::{client, pod, scope_id, word};
use crate::node::Node;
use crate::{message, next};

/// The bound pod `crawlers/a`, guarded by the body in force.
async fn guarded() -> (Node, Body) {
    let mut node = Node::new();
    let body = client();
    node.takes(body.clone()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    let scope = AddressClass::Scope(scope_id());
    assert_eq!(class_of(&mut node).await, Some(scope));
    (node, body)
}

/// The Pod object and its namespace are gone.
fn silent(body: &Body) -> Body {
    next(body, |body| {
        body.guarded_namespaces.clear();
        body.pods.clear();
    })
}

/// The namespace and the pods of a client node again.
fn guarding(body: &Body) -> Body {
    let client = client();
    next(body, |body| {
        body.guarded_namespaces = client.guarded_namespaces;
        body.pods = client.pods;
    })
}

fn releasing(body: &Body) -> Body {
    next(body, |body| {
        body.pods = vec![pod("a", Class::Released, &[])];
    })
}

async fn class_of(node: &mut Node) -> Option<AddressClass> {
    node.runs(Activation::Timer).await;
    let address = word::<Address>("10.244.1.2");
    let classes = &node.agent.kernel.desired.classes;
    classes
        .get(&address)
        .map(|classified| classified.class.clone())
}

/// Puts a body into the folder and lets the agent look.
fn offers(node: &mut Node, body: Body) -> Taken {
    node.puts_body(body);
    node.agent.take_documents()
}

/// Nobody can write this file while a folder has its name. Answers what it held.
fn blocks(node: &Node, file: &str) -> Vec<u8> {
    let path = node.file(file);
    let held = fs::read(&path).unwrap_or_default();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("full"), "").unwrap();
    held
}

fn unblocks(node: &Node, file: &str, held: &[u8]) {
    fs::remove_dir_all(node.file(file)).unwrap();
    fs::write(node.file(file), held).unwrap();
}

/// The report that counts so many pods that are held and listed no more. Reports are a second apart.
fn told(node: &mut Node, pods: u64) -> NodeReportStatus {
    let patience = Patience::of(Duration::from_secs(5));
    loop {
        let report = node.reports("FailClosed", "True", "Sealed");
        if report.counters.get("unlisted_pods") == Some(&pods) {
            return report;
        }
        assert!(!patience.is_over(), "{:?}", report.counters);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn refused(node: &Node) -> Vec<&'static str> {
    let refusals = node.agent.documents.refusals.iter();
    refusals.map(|refusal| refusal.reason).collect()
}

#[tokio::test]
async fn a_pod_whose_object_and_namespace_go_is_held_over_a_restart_and_told_until_it_is_released()
{
    let (mut node, body) = guarded().await;
    let body = silent(&body);
    node.takes(body.clone()).await;
    assert_eq!(class_of(&mut node).await, None);
    let report = told(&mut node, 1);
    let said = message(&report, "FailClosed");
    assert!(said.contains("crawlers/a (and 0 more pods)"), "{said}");
    let table = postern_agent::report::table(&serde_json::to_value(&report).unwrap());
    assert!(table.contains("heldPods       1 "), "{table}");

    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(class_of(&mut node).await, None);
    let body = releasing(&body);
    node.takes(body.clone()).await;
    assert_eq!(class_of(&mut node).await, Some(AddressClass::Released));
    told(&mut node, 0);
    node.takes(silent(&body)).await;
    assert_eq!(class_of(&mut node).await, Some(AddressClass::Released));
}

/// Where the plugin is not installed nothing is known of a pod but its address in the body.
#[tokio::test]
async fn without_the_plugin_an_address_that_nobody_lists_is_held_over_a_restart_too() {
    let mut node = Node::new();
    node.agent.options.plugin = Plugin::None;
    let body = client();
    node.takes(body.clone()).await;
    let scope = AddressClass::Scope(scope_id());
    assert_eq!(class_of(&mut node).await, Some(scope));
    assert!(class_in_the_kernel(&node).await.is_some());
    node.takes(silent(&body)).await;
    for _ in 0..2 {
        assert_eq!(class_of(&mut node).await, None);
        assert_eq!(class_in_the_kernel(&node).await, None, "the guard holds it");
        node.reports("FailClosed", "True", "Sealed");
        node = node.restarts();
        node.agent.options.plugin = Plugin::None;
        node.starts().await;
    }
}

/// What the map of the guard says of the pod's address.
async fn class_in_the_kernel(node: &Node) -> Option<String> {
    let firewall = node.host.read_firewall().await.unwrap();
    let elements = &firewall.inet.unwrap().sets["from4"].elements;
    let mut found = elements.iter().map(ToString::to_string);
    found.find(|element| element.starts_with("10.244.1.2 "))
}

#[tokio::test]
async fn a_guard_outlives_the_ledger_from_the_answer_to_add_on() {
    let (node, body) = guarded().await;
    fs::remove_file(node.file("ledger.json")).unwrap();
    node.removes(DocumentKind::Intent);
    let mut node = node.restarts();
    node.starts().await;
    assert!(node.agent.documents.verified.is_none());
    node.takes(silent(&body)).await;
    assert_eq!(class_of(&mut node).await, None);
}

#[tokio::test]
async fn an_intent_is_not_in_force_before_it_is_durable_whom_it_guards() {
    let mut node = Node::new();
    let open = silent(&client());
    node.takes(open.clone()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    assert_eq!(class_of(&mut node).await, Some(AddressClass::Released));

    let held = blocks(&node, "bindings.json");
    let guarding = guarding(&open);
    assert_eq!(offers(&mut node, guarding.clone()), Taken::Nothing);
    assert_eq!(
        node.agent.take_documents(),
        Taken::Nothing,
        "looked at again"
    );
    assert_eq!(refused(&node), ["NotDurable"], "and told once");
    let serial = |node: &Node| node.agent.memory.ledger.entries().serial;
    assert_eq!(serial(&node), open.serial);
    assert_eq!(class_of(&mut node).await, Some(AddressClass::Released));
    node.reports("Accepted", "False", "NotDurable");

    unblocks(&node, "bindings.json", &held);
    assert_eq!(node.agent.take_documents(), Taken::New);
    assert_eq!(serial(&node), guarding.serial);
    let scope = AddressClass::Scope(scope_id());
    assert_eq!(class_of(&mut node).await, Some(scope));
    node.reports("Accepted", "True", "Accepted");
}

#[tokio::test]
async fn nobody_is_let_go_by_an_intent_that_is_not_durable() {
    let (mut node, body) = guarded().await;
    let body = silent(&body);
    node.takes(body.clone()).await;
    let held = blocks(&node, "ledger.json");
    assert_eq!(offers(&mut node, releasing(&body)), Taken::Nothing);
    assert_eq!(refused(&node), ["NotDurable"]);
    assert_eq!(class_of(&mut node).await, None);

    unblocks(&node, "ledger.json", &held);
    assert_eq!(node.agent.take_documents(), Taken::New);
    assert_eq!(class_of(&mut node).await, Some(AddressClass::Released));
}

#[tokio::test]
async fn an_intent_that_the_ledger_cannot_keep_guards_nobody() {
    let mut node = Node::new();
    let open = silent(&client());
    node.takes(open.clone()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    let guarding = guarding(&open);
    let held = blocks(&node, "ledger.json");
    assert_eq!(offers(&mut node, guarding), Taken::Nothing);
    assert_eq!(refused(&node), ["NotDurable"]);
    assert_eq!(
        class_of(&mut node).await,
        Some(AddressClass::Released),
        "the one before stays"
    );
    unblocks(&node, "ledger.json", &held);
    assert_eq!(node.agent.take_documents(), Taken::New);
    let scope = AddressClass::Scope(scope_id());
    assert_eq!(class_of(&mut node).await, Some(scope));
}
