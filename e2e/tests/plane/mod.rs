//! What cases on a real API server ask: objects, their conditions, the operators' own words, and approvals.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a value that is not there is a failure, and each test binary uses a part of this"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use postern_e2e::LabError;
use postern_e2e::controlplane::OPERATORS;
use postern_e2e::harness::{TestLab, exit, policy, wait_until};
use postern_e2e::lab::{Cluster, Lab, UpOptions};
use postern_intent::envelope::unpack;
use postern_intent::{Body, Envelope};
use serde_json::Value;

/// What takes longer than anything that is waited for inside one machine: a Lease that runs out, a Secret that is read
/// once a minute, an agent that speaks once a minute.
pub(crate) const LONG: Duration = Duration::from_secs(150);

/// The nodes of [`cluster`].
pub(crate) const NODES: [&str; 2] = ["n1", "gw-1"];

/// The operator's namespace.
pub(crate) const SYSTEM: &str = "postern-system";

/// A lab with one node, one gateway and the namespace of the crawlers.
pub(crate) fn cluster() -> TestLab {
    let options = UpOptions {
        cluster: Cluster::ApiServer,
        nodes: 2,
        gateways: 1,
        ..UpOptions::default()
    };
    let lab = TestLab::up(&options).unwrap();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: crawlers}\n";
    lab.apply_yaml(namespace).unwrap();
    lab
}

/// The exit and the policy of every case, the policy with this priority: another one makes another generation.
pub(crate) fn objects(priority: u32) -> String {
    exit("eu", "gw-1", "") + &policy("eu", &format!("priority: {priority}"))
}

/// What kubectl prints as JSON.
pub(crate) fn get(lab: &Lab, arguments: &[&str]) -> Result<Value, LabError> {
    let arguments = [&["get", "-o", "json"], arguments].concat();
    let said = lab.kubectl_ok(&arguments)?;
    serde_json::from_str(&said).map_err(LabError::json("kubectl's answer"))
}

/// A condition of an object's status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// The specs of the published intents, by [`NODES`]; none where one is not there.
pub(crate) fn published(lab: &Lab) -> Result<Option<Vec<Value>>, LabError> {
    let list = get(lab, &["nodeintents"])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let spec = |node: &str| {
        let found = items.iter().find(|item| item["metadata"]["name"] == node)?;
        Some(found["spec"].clone())
    };
    Ok(NODES.iter().map(|node| spec(node)).collect())
}

/// What an intent's envelope says.
pub(crate) fn body(spec: &Value) -> Option<Body> {
    let envelope: Envelope = serde_json::from_value(spec["envelope"].clone()).ok()?;
    let json = unpack(&envelope.payload_bytes().ok()?).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The serial that a node's report calls applied.
pub(crate) fn applied(lab: &Lab, node: &str) -> u64 {
    let report = lab.report_status(node).unwrap_or_default();
    report["appliedSerial"].as_u64().unwrap_or_default()
}

/// Asks an operator by HTTP: the whole answer with its head; none while it does not answer.
pub(crate) fn ask(lab: &Lab, number: u8, path: &str) -> Option<String> {
    let port = 9850 + u16::from(number);
    let question = format!("GET {path} HTTP/1.0\r\nHost: operator\r\n\r\n");
    let asked = lab.namespace("cp").run(|| {
        let exchange = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(question.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        Ok(exchange().ok())
    });
    asked.ok().flatten()
}

/// A gauge of the operators: the highest that one of them shows.
pub(crate) fn gauge(lab: &Lab, name: &str) -> i64 {
    let line = format!("postern_operator_{name} ");
    let of = |number| {
        let page = ask(lab, number, "/metrics")?;
        let value = page.lines().find_map(|found| found.strip_prefix(&line))?;
        value.trim().parse().ok()
    };
    (1..=OPERATORS).filter_map(of).max().unwrap_or_default()
}

/// Events with this reason: their sentences.
pub(crate) fn events(lab: &Lab, reason: &str) -> Result<Vec<String>, LabError> {
    let list = get(lab, &["events.events.k8s.io", "-A"])?;
    let items = list["items"].as_array().into_iter().flatten();
    let told = items.filter(|event| event["reason"] == reason);
    Ok(told.map(|event| event["note"].to_string()).collect())
}

/// What waits for an approval, as the operator tells people.
pub(crate) fn held(lab: &Lab) -> Result<Vec<Value>, LabError> {
    let map = ["configmap", "postern-memory", "-n", SYSTEM];
    let map = get(lab, &[&map[..], &["--ignore-not-found"]].concat()).unwrap_or_default();
    let text = map["data"]["held.json"].as_str().unwrap_or("[]");
    serde_json::from_str(text).map_err(LabError::json("what is held"))
}

/// Waits until everything that waits has this cause and is about these subjects, such as `{"node": "n1"}`.
pub(crate) fn await_held(
    lab: &Lab,
    cause: &str,
    subjects: &[Value],
) -> Result<Vec<Value>, LabError> {
    let what = format!("{cause} of {subjects:?}, but {:?} wait", held(lab));
    wait_until(LONG, &what, || {
        let held = held(lab)?;
        let same = held.len() == subjects.len()
            && subjects.iter().all(|subject| {
                let is = |one: &Value| one["subject"] == *subject && one["cause"] == cause;
                held.iter().any(is)
            });
        Ok(same.then_some(held))
    })
}

/// Approves what waits, as a person does who read the Event.
pub(crate) fn approve(lab: &Lab, held: &[Value]) -> Result<(), LabError> {
    let entries = held.iter().enumerate().map(|(number, one)| {
        let approval = serde_json::json!({
            "subject": one["subject"], "cause": one["cause"], "digest": one["digest"],
        });
        (format!("approval-{number}"), approval.to_string().into())
    });
    let data: serde_json::Map<String, Value> = entries.collect();
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": "postern-approvals", "namespace": SYSTEM},
    });
    lab.apply_yaml(&map.to_string())
}

/// Waits until a node's agent has applied the policy `crawlers/crawler` in this generation, or a later one.
pub(crate) fn await_generation(lab: &Lab, node: &str, generation: i64) -> Result<(), LabError> {
    let what = format!("generation {generation} of the policy in force at {node}");
    wait_until(LONG, &what, || {
        let body = lab.current_body(node)?;
        let scopes = body.firewall.iter();
        let carries = |generation| scopes.map(|scope| scope.policy.generation).max() >= generation;
        Ok((carries(Some(generation)) && applied(lab, node) >= body.serial.0).then_some(()))
    })
}

/// Changes the policy and answers its generation.
pub(crate) fn change(lab: &Lab, priority: u32) -> Result<i64, LabError> {
    lab.apply_yaml(&objects(priority))?;
    let policy = get(lab, &["egp", "crawler", "-n", "crawlers"])?;
    Ok(policy["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default())
}
