//! What cases on a real API server ask: objects, their conditions, the operators' own words, and approvals.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use postern_e2e::LabError;
use postern_e2e::cluster::{Api, OPERATORS, kubeconfigs, operator_name};
use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Lab, PodOptions, Programs, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, exit, policy, wait_until};
use postern_intent::envelope::unpack;
use postern_intent::{DsseEnvelope, NodeDocument};
use serde_json::Value;

/// What takes longer than anything that is waited for inside one machine: a Lease that runs out, a Secret that is read
/// once a minute, an agent that speaks once a minute.
pub(crate) const LONG: Duration = Duration::from_secs(150);

/// The nodes of [`cluster`].
pub(crate) const NODES: [&str; 2] = ["n1", "gw-1"];

pub(crate) const SYSTEM: &str = "postern-system";

/// A lab with one node, one gateway and the namespace of the crawlers.
pub(crate) fn cluster() -> TestLab {
    let lab = TestLab::up(&UpOptions::on_api_server(2, Programs::Postern)).unwrap();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: crawlers}\n";
    lab.apply_yaml(namespace).unwrap();
    lab
}

/// The exit and the policy of every case, the policy with this priority: another one makes another generation.
pub(crate) fn objects(priority: u32) -> String {
    exit("eu", "gw-1", "") + &policy("eu", &format!("priority: {priority}"))
}

/// Another pod on `n1` that the policy of every case selects, and that sends.
pub(crate) fn another(lab: &Lab, name: &str) -> Result<Sender, LabError> {
    let pod = PodOptions::on("n1").label("app", "crawler");
    lab.sender(&format!("crawlers/{name}"), pod)
}

/// Waits until pods can be made in a namespace: its controller makes an account for them first.
pub(crate) fn await_account(lab: &Lab, namespace: &str) -> Result<(), LabError> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    let what = format!("the service account of {namespace}");
    wait_until(LONG, &what, || Api::of(lab).get(&path)).map(drop)
}

/// The number of the operator that holds the Lease.
pub(crate) fn leader(lab: &Lab) -> Result<u8, LabError> {
    wait_until(LONG, "a holder of the Lease", || {
        let lease = get(lab, &["lease", "postern-operator", "-n", SYSTEM])?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok((1..=OPERATORS).find(|number| {
            let name = operator_name(*number).unwrap();
            holder.starts_with(&format!("{name}_"))
        }))
    })
}

/// Waits until the number of requests of a client has not changed for ten seconds.
pub(crate) fn await_quiet<T: PartialEq>(
    deadline: Duration,
    mut asked: impl FnMut() -> Result<T, LabError>,
) -> Result<(), LabError> {
    let mut last = (asked()?, Instant::now());
    wait_until(deadline, "ten quiet seconds", || {
        let now = asked()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok((last.1.elapsed() > Duration::from_secs(10)).then_some(()))
    })
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

/// The content of an intent's envelope.
pub(crate) fn body(spec: &Value) -> Option<NodeDocument> {
    let envelope: DsseEnvelope = serde_json::from_value(spec["envelope"].clone()).ok()?;
    let json = unpack(&envelope.payload_bytes().ok()?).ok()?;
    serde_json::from_slice(&json).ok()
}

/// The serial that a node's report calls applied; none while there is no report or it names none. None is less than any
/// serial: who compares with an earlier one takes [`serials`] for that.
pub(crate) fn applied(lab: &Lab, node: &str) -> Option<u64> {
    lab.report_status(node)?["appliedSerial"].as_u64()
}

/// The serials that all nodes have applied, in the order of [`NODES`]. That one has none is an error.
pub(crate) fn serials(lab: &Lab) -> Result<[u64; 2], LabError> {
    let of = |node: &str| {
        applied(lab, node).ok_or_else(|| LabError::Invalid {
            what: "report",
            value: node.to_owned(),
            why: "it names no applied serial".to_owned(),
        })
    };
    Ok([of(NODES[0])?, of(NODES[1])?])
}

/// Asks an operator by HTTP: the whole answer with its head; none while it does not answer.
pub(crate) fn ask(lab: &Lab, number: u8, path: &str) -> Option<String> {
    page(lab, operator_port(number), path).ok()
}

/// Where an operator serves, on the loopback of the control plane's machine.
pub(crate) fn operator_port(number: u8) -> u16 {
    9850 + u16::from(number)
}

/// What a program on the control plane's machine answers by HTTP: the whole answer with its head.
pub(crate) fn page(lab: &Lab, port: u16, path: &str) -> Result<String, LabError> {
    let question = format!("GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n");
    lab.namespace("cp").run(|| {
        let exchange = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(question.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        exchange().map_err(LabError::file("ask for", Path::new(path)))
    })
}

/// A gauge of the operators: the highest value of any; none when no operator has it.
pub(crate) fn gauge(lab: &Lab, name: &str) -> Option<i64> {
    let line = format!("postern_operator_{name} ");
    let of = |number| {
        let page = ask(lab, number, "/metrics")?;
        let value = page.lines().find_map(|found| found.strip_prefix(&line))?;
        value.trim().parse().ok()
    };
    (1..=OPERATORS).filter_map(of).max()
}

/// Events with this reason: their sentences.
pub(crate) fn events(lab: &Lab, reason: &str) -> Result<Vec<String>, LabError> {
    let list = get(lab, &["events.events.k8s.io", "-A"])?;
    let items = list["items"].as_array().into_iter().flatten();
    let told = items.filter(|event| event["reason"] == reason);
    Ok(told.map(|event| event["note"].to_string()).collect())
}

/// Events with this reason that the users of a namespace see.
pub(crate) fn events_in(lab: &Lab, namespace: &str, reason: &str) -> Result<Vec<Value>, LabError> {
    let list = get(lab, &["events.events.k8s.io", "-n", namespace])?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let told = items.into_iter().filter(|event| event["reason"] == reason);
    Ok(told.collect())
}

/// What waits for an approval, from the ConfigMap of the operator. It is an error when there is no ConfigMap.
pub(crate) fn held(lab: &Lab) -> Result<Vec<Value>, LabError> {
    held_so_far(lab)?.ok_or_else(|| LabError::Invalid {
        what: "memory",
        value: SYSTEM.to_owned(),
        why: "there is no ConfigMap postern-memory".to_owned(),
    })
}

/// [`held`], or none while there is no ConfigMap: an operator makes it again some time after a case took it away.
pub(crate) fn held_so_far(lab: &Lab) -> Result<Option<Vec<Value>>, LabError> {
    let path = format!("/api/v1/namespaces/{SYSTEM}/configmaps/postern-memory");
    let Some(map) = Api::of(lab).get(&path)? else {
        return Ok(None);
    };
    let text = map["data"]["held.json"].as_str().unwrap_or_default();
    serde_json::from_str(text).map_err(LabError::json("what is held"))
}

/// Waits until everything that waits has this cause and is about these subjects, such as `{"node": "n1"}`.
pub(crate) fn await_held(
    lab: &Lab,
    cause: &str,
    subjects: &[Value],
) -> Result<Vec<Value>, LabError> {
    let all_wait = |held: &Vec<Value>| {
        held.len() == subjects.len()
            && subjects.iter().all(|subject| {
                let is = |one: &Value| one["subject"] == *subject && one["cause"] == cause;
                held.iter().any(is)
            })
    };
    let mut last = None;
    let waited = wait_until(LONG, &format!("{cause} of {subjects:?}"), || {
        last = held_so_far(lab)?;
        Ok(last.clone().filter(|held| all_wait(held)))
    });
    waited.map_err(|error| match error {
        LabError::Timeout { what, seconds, .. } => LabError::Timeout {
            what,
            seconds,
            detail: format!("; what waits: {last:?}"),
        },
        other => other,
    })
}

/// Approves what waits, as a person does who read the Event.
pub(crate) fn approve(lab: &Lab, held: &[Value]) -> Result<(), LabError> {
    let kubeconfig = kubeconfigs(lab).inside.display().to_string();
    for one in held {
        let subject = one["subject"].as_object().into_iter().flatten();
        for (kind, name) in subject {
            let what = ["approve", kind, name.as_str().unwrap_or_default()];
            let arguments = [&what[..], &["--kubeconfig", &kubeconfig]].concat();
            command::run(&mut lab.posternctl(&arguments)?)?;
        }
    }
    Ok(())
}

/// Waits until a node's agent has applied the policy `crawlers/crawler` in this generation, or a later one.
pub(crate) fn await_generation(lab: &Lab, node: &str, generation: i64) -> Result<(), LabError> {
    let what = format!("generation {generation} of the policy in force at {node}");
    wait_until(LONG, &what, || {
        let body = lab.current_body(node)?;
        let scopes = body.firewall.iter();
        let carries = |generation| scopes.map(|scope| scope.policy.generation).max() >= generation;
        let in_force = applied(lab, node) >= Some(body.serial.0);
        Ok((carries(Some(generation)) && in_force).then_some(()))
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
