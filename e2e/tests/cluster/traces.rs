//! One trace leads from `kubectl apply` to the kernel: the signed body names it, the agent's audit log names it, and a
//! collector has every step of it.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster traces::`, as root; the first run builds Kubernetes.

use std::collections::BTreeMap;

use postern_e2e::LabError;
use postern_e2e::lab::{Cluster, Collector, Lab, UpOptions};
use postern_e2e::proof::harness::{TestLab, wait_until};
use postern_intent::NodeDocument;
use serde_json::Value;

use crate::plane::{LONG, await_generation, change, condition, get};

const NODE: &str = "n1";

/// The spans that lead to a body in force, each with the one that it is a part of.
const STEPS: [(&str, &str); 6] = [
    ("run", ""),
    ("gather", "run"),
    ("compile", "run"),
    ("publish", "run"),
    ("sign", "publish"),
    ("apply", "publish"),
];

/// A lab whose operators make traces, with the namespace of the crawlers.
fn traced() -> TestLab {
    let options = UpOptions {
        cluster: Cluster::ApiServer,
        nodes: 2,
        gateways: 1,
        collector: Collector::There,
        ..UpOptions::default()
    };
    let lab = TestLab::up(&options).unwrap();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: crawlers}\n";
    lab.apply_yaml(namespace).unwrap();
    lab
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The spans of one trace that are not `report`s nor of other nodes, as name and the name of what each is a part of.
fn steps(spans: &[&Value]) -> Vec<(String, String)> {
    let names: BTreeMap<&str, &str> = spans
        .iter()
        .map(|span| (word(span, "spanId"), word(span, "name")))
        .collect();
    let parent = |span: &Value| match word(span, "parentSpanId") {
        "" => "",
        id => names.get(id).copied().unwrap_or("a span that is not there"),
    };
    spans
        .iter()
        .filter(|span| word(span, "name") != "report" && !is_elsewhere(span))
        .map(|span| (word(span, "name").to_owned(), parent(span).to_owned()))
        .collect()
}

fn is_elsewhere(span: &Value) -> bool {
    word(span, "name") == "apply" && span["attributes"]["node"] != NODE
}

/// The missing spans of the trace of a body.
fn missing(lab: &Lab, body: &NodeDocument) -> Vec<String> {
    let Some(trace) = &body.trace_id else {
        return vec!["a trace in the body".to_owned()];
    };
    let serial = body.serial.0;
    let mut missing = Vec::new();
    let audit = lab.audit(NODE);
    for event in ["Accepted", "Applied"] {
        let told = audit.iter().any(|line| {
            line["kind"] == "intent"
                && line["event"] == event
                && line["serial"] == serial
                && line["traceId"] == **trace
        });
        if !told {
            missing.push(format!(
                "{event} of serial {serial} with {trace} in the audit log"
            ));
        }
    }
    let spans = lab.spans();
    let spans: Vec<&Value> = spans
        .iter()
        .filter(|span| span["traceId"] == **trace)
        .collect();
    let mut found = steps(&spans);
    let mut wanted = STEPS.map(|(name, parent)| (name.to_owned(), parent.to_owned()));
    found.sort();
    wanted.sort();
    if found != wanted {
        missing.push(format!("spans {wanted:?} of {trace}, there are {found:?}"));
    }
    missing
}

/// Waits until the trace of the body in force at the node is whole, and returns the body with its span `apply`.
fn await_told(lab: &Lab) -> (NodeDocument, Value) {
    let mut last = Vec::new();
    let waited = wait_until(LONG, "the trace of the body in force", || {
        let body = lab.current_body(NODE)?;
        last = missing(lab, &body);
        Ok(last.is_empty().then_some(body))
    });
    assert!(waited.is_ok(), "missing: {last:#?}");
    let body = waited.unwrap();
    let spans = lab.spans();
    let apply = spans.iter().find(|span| {
        span["traceId"] == **body.trace_id.as_ref().unwrap()
            && word(span, "name") == "apply"
            && !is_elsewhere(span)
    });
    (body, apply.unwrap().clone())
}

/// Waits until the policy is `Programmed`.
fn await_programmed(lab: &Lab) -> Result<(), LabError> {
    wait_until(LONG, "Programmed of the policy", || {
        let policy = get(lab, &["egp", "crawler", "-n", "crawlers"])?;
        let programmed = condition(&policy, "Programmed");
        Ok(programmed
            .is_some_and(|it| it["status"] == "True")
            .then_some(()))
    })
}

/// Spans `apply` by node and serial that were sent more than once.
fn told_twice(lab: &Lab) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for span in lab
        .spans()
        .iter()
        .filter(|span| word(span, "name") == "apply")
    {
        let attributes = &span["attributes"];
        let what = format!("{} {}", attributes["node"], attributes["serial"]);
        *counts.entry(what).or_default() += 1;
    }
    counts.retain(|_, count| *count > 1);
    counts.into_keys().collect()
}

fn holds(lab: &Lab, (body, apply): &(NodeDocument, Value)) -> Result<(), LabError> {
    let digest = lab.current_envelope(NODE)?.digest().unwrap();
    let attributes = &apply["attributes"];
    assert_eq!(attributes["serial"], body.serial.0.to_string(), "{apply}");
    assert_eq!(attributes["digest"], digest, "{apply}");
    assert_eq!(attributes["ended_by"], "verifiedAt", "{apply}");
    assert_eq!(apply["service"], "postern-operator");
    let time = |name: &str| apply[name].as_u64().unwrap();
    assert!(
        time("startTimeUnixNano") < time("endTimeUnixNano"),
        "{apply}"
    );
    Ok(())
}

#[test]
fn one_trace_leads_from_apply_to_the_kernel_and_a_change_has_one_of_its_own() {
    let lab = traced();
    lab.selected_sender(NODE).unwrap();
    await_programmed(&lab).unwrap();
    let before = await_told(&lab);
    assert!(!before.0.firewall.is_empty(), "the policy's own body");
    holds(&lab, &before).unwrap();
    let generation = change(&lab, 2).unwrap();
    await_generation(&lab, NODE, generation).unwrap();
    let after = await_told(&lab);
    holds(&lab, &after).unwrap();
    assert!(after.0.serial > before.0.serial);
    assert_ne!(after.0.trace_id, before.0.trace_id);
    assert_eq!(told_twice(&lab), Vec::<String>::new());
}
