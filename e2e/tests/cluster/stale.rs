//! The status of the users' objects on a real API server when the agent of a node is gone.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster stale::`, as root; the first run builds Kubernetes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};
use serde_json::{Value, json};

use crate::plane::{LONG, cluster, condition, get};

/// Three minutes for which a report counts, one until the operator looks again, and what a busy machine takes.
const SILENCE: Duration = Duration::from_secs(270);

/// The operator looks once a minute although nothing changed.
const A_LOOK: Duration = Duration::from_secs(65);

/// The expected status of the policy: a condition's status and reason, nodes (desired, programmed, stale), enforced
/// pods.
fn said(object: &Value, kind: &str) -> (String, String, [u64; 3], u64) {
    let found = condition(object, kind).cloned().unwrap_or_default();
    let word = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    let nodes = &object["status"]["nodes"];
    let counts = ["desired", "programmed", "stale"].map(|count| nodes[count].as_u64().unwrap());
    let enforced = object["status"]["pods"]["enforced"].as_u64().unwrap();
    (word("status"), word("reason"), counts, enforced)
}

/// Waits until a condition and the counts of the policy are these, and returns the policy.
fn await_said(
    lab: &Lab,
    deadline: Duration,
    kind: &str,
    wanted: (&str, &str, [u64; 3], u64),
) -> Value {
    let (status, reason, nodes, enforced) = wanted;
    let wanted = (status.to_owned(), reason.to_owned(), nodes, enforced);
    let mut last = Value::Null;
    let waited = wait_until(deadline, "what the policy has to say", || {
        last = get(lab, &["egp", "crawler", "-n", "crawlers"])?;
        let is_said = last["status"]["nodes"].is_object() && said(&last, kind) == wanted;
        Ok(is_said.then_some(()))
    });
    assert!(waited.is_ok(), "{kind} {wanted:?}: {waited:?}: {last:#}");
    last
}

#[test]
fn an_agent_that_is_gone_is_told_within_four_minutes_and_what_it_said_counts_no_more() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    let well = ("True", "Ready", [1, 1, 0], 1);
    let object = await_said(&lab, WAIT_DEADLINE, "Ready", well);
    let ready = condition(&object, "Ready").unwrap();
    let story = "1 pod leaves by exit eu from gw-1's own address";
    assert_eq!(ready["message"], story, "{object:#}");
    let exit = get(&lab, &["exit", "eu"]).unwrap();
    let clients = json!({"desired": 1, "programmed": 1, "sealed": 1});
    assert_eq!(exit["status"]["clients"], clients);
    assert_eq!(exit["status"]["gateways"][0]["healthy"], true, "{exit:#}");

    lab.kill("agent-n1").unwrap();
    let stale = ("Unknown", "Stale", [1, 0, 1], 0);
    for kind in ["Programmed", "Ready", "FullyEnforced"] {
        await_said(&lab, SILENCE, kind, stale);
    }
    wait_until(WAIT_DEADLINE, "the exit's word", || {
        let exit = get(&lab, &["exit", "eu"])?;
        let clients = json!({"desired": 1, "programmed": 0, "sealed": 0});
        let unknown = condition(&exit, "Programmed").is_some_and(|one| one["status"] == "Unknown");
        Ok((exit["status"]["clients"] == clients && unknown).then_some(()))
    })
    .unwrap();
    // Time alone writes nothing more, and the kernel keeps its rules.
    let versions = || -> Result<[Value; 2], LabError> {
        let policy = get(&lab, &["egp", "crawler", "-n", "crawlers"])?;
        let exit = get(&lab, &["exit", "eu"])?;
        Ok([policy, exit].map(|object| object["metadata"]["resourceVersion"].clone()))
    };
    let before = versions().unwrap();
    let begun = Instant::now();
    wait_until(LONG, "another look of the operator", || {
        sender.await_answers(&["tcp4", "tcp6"], Timestamp::now(), WAIT_DEADLINE)?;
        Ok((begun.elapsed() >= A_LOOK).then_some(()))
    })
    .unwrap();
    assert_eq!(versions().unwrap(), before);

    lab.start_agent("n1").unwrap();
    await_said(&lab, LONG, "Ready", well);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
