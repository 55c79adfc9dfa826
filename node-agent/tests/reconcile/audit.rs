//! Every line of the audit log that concerns a body names it, and the trace that led to it.

use std::path::Path;

use postern_agent::agent::Activation;
use postern_agent::audit::AuditTrail;
use postern_intent::Body;
use postern_intent::body::TermsDnsMode;
use serde_json::{Value, json};

use crate::fixture::client;
use crate::next;
use crate::node::Node;

/// A W3C trace id.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const ANOTHER: &str = "0af7651916cd43dd8448eb211c80319c";

/// A node whose audit log is a file.
fn logging(mut node: Node, file: &Path) -> Node {
    node.agent.output.audit = AuditTrail::open(Some(file)).unwrap();
    node
}

fn traced(mut body: Body, trace: &str) -> Body {
    body.trace_id = Some(trace.to_owned());
    body
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What the lines say of bodies: event and trace.
fn intents(lines: &[Value]) -> Vec<(&str, &str)> {
    let intents = lines.iter().filter(|line| line["kind"] == "intent");
    intents
        .map(|line| {
            let word = |name: &str| line[name].as_str().unwrap_or_default();
            (word("event"), word("traceId"))
        })
        .collect()
}

#[tokio::test]
async fn a_body_is_told_with_its_trace_when_it_is_accepted_and_when_it_is_applied_and_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut node = logging(Node::new(), &file);
    node.takes(traced(client(), TRACE)).await;
    let found = lines(&file);
    assert_eq!(intents(&found), [("Accepted", TRACE), ("Applied", TRACE)]);
    let digest = node
        .agent
        .documents
        .verified
        .as_ref()
        .unwrap()
        .digest()
        .to_owned();
    for line in &found {
        assert_eq!(line["traceId"], TRACE, "{line}");
        assert_eq!(line["serial"], client().serial.0, "{line}");
        assert_eq!(line["digest"], digest, "{line}");
    }
    let moved = found.iter().filter(|line| line["kind"] == "transition");
    assert!(moved.count() > 0);

    let second = next(&traced(client(), ANOTHER), |_| {});
    node.takes(second).await;
    let found = lines(&file);
    assert_eq!(
        intents(&found)[2..],
        [("Accepted", ANOTHER), ("Applied", ANOTHER)]
    );

    let mut node = logging(node.restarts(), &file);
    node.starts().await;
    node.runs(Activation::Timer).await;
    let found = lines(&file);
    assert_eq!(intents(&found).len(), 4, "the same body is no news");
    let started = found.iter().find(|line| line["event"] == "Started");
    assert_eq!(started.unwrap()["traceId"], ANOTHER);
}

#[tokio::test]
async fn another_mode_of_names_is_told_once_it_is_in_force_with_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut node = logging(Node::new(), &file);
    node.takes(client()).await;
    let blocking = next(&client(), |body| {
        body.firewall[0].terms.dns.mode = TermsDnsMode::Block;
    });
    node.takes(blocking).await;
    node.runs(Activation::Timer).await;
    let found = lines(&file);
    let told: Vec<&Value> = found
        .iter()
        .filter(|line| line["kind"] == "names")
        .collect();
    let [told] = told[..] else {
        panic!("one line: {told:?}");
    };
    assert_eq!(told["event"], "ModeChanged");
    let scope = client().firewall[0].id.to_string();
    assert_eq!(
        (&told["from"], &told["to"], &told["scope"]),
        (&json!("Forward"), &json!("Block"), &json!(scope))
    );
}

#[tokio::test]
async fn a_repair_names_the_trace_of_the_body_that_was_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut node = logging(Node::new(), &file);
    node.takes(traced(client(), TRACE)).await;
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.inet.as_mut().expect("the table");
        let guard = table.chains.get_mut("guard").expect("the guard");
        guard.rules.clear();
    });
    node.runs(Activation::HostChanged).await;
    let found = lines(&file);
    let repair = found.iter().find(|line| line["kind"] == "repair");
    assert_eq!(repair.expect("a repair")["traceId"], TRACE);
}

#[tokio::test]
async fn a_body_without_a_trace_is_told_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let mut node = logging(Node::new(), &file);
    node.takes(client()).await;
    let found = lines(&file);
    assert_eq!(intents(&found), [("Accepted", ""), ("Applied", "")]);
    assert!(found.iter().all(|line| line.get("traceId").is_none()));
    assert!(found.iter().all(|line| line["serial"] == client().serial.0));
}
