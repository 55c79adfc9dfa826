//! Every bad document is refused by a running agent with its own reason in report, audit log and metric, and what was
//! in force stays in force: a pod sends by the exit all the time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::documents::{
    Bad, CLUSTER, FILES, INTENT, KEYS, bad_documents, key, key_set, next, next_cluster,
    write_ledger,
};
use jiff::{SignedDuration, Timestamp};
use postern_e2e::lab::{Lab, UpOptions};
use postern_e2e::proof::harness::{After, FLOWS, Sender, TestLab, WAIT_DEADLINE, wait_until};
use postern_intent::keys::KeyId;
use postern_intent::sign::{sign_cluster, sign_intent, sign_key_set};
use serde_json::Value;

const NODE: &str = "n1";
const AGENT_DEADLINE: Duration = Duration::from_secs(60);

/// A lab whose publisher has stopped, with a pod that sends by the exit.
fn lab_without_publisher() -> (TestLab, Sender) {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender(NODE).unwrap();
    lab.kill("publisher").unwrap();
    // The last report may have made the publisher write once more.
    let serial = lab.current_body(NODE).unwrap().serial.0;
    await_serial(&lab, serial);
    (lab, sender)
}

fn await_serial(lab: &Lab, serial: u64) -> Value {
    lab.await_report(NODE, &format!("serial {serial} in force"), |report| {
        report["appliedSerial"] == serial && condition(report, "Accepted")["status"] == "True"
    })
    .unwrap()
}

fn condition<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let mut all = report["conditions"].as_array().into_iter().flatten();
    all.find(|one| one["type"] == kind).unwrap_or(&Value::Null)
}

fn metric(lab: &Lab, reason: &str) -> u64 {
    let name = format!("postern_agent_refused_documents_total{{reason=\"{reason}\"}}");
    // An agent that has just been started does not serve them yet.
    wait_until(AGENT_DEADLINE, "the agent's metrics", || {
        Ok(lab.agent_metric(NODE, &name).ok())
    })
    .unwrap()
}

fn audited(lab: &Lab, reason: &str) -> usize {
    let lines = lab.audit(NODE);
    lines
        .iter()
        .filter(|line| line["kind"] == "refusal" && line["event"] == reason)
        .count()
}

/// Publishes one bad document, waits until the agent reports why it refused it, and removes it.
fn refuse(lab: &Lab, bad: &Bad, serial: u64) {
    let (name, reason) = (bad.name, bad.reason);
    let (counted, written) = (metric(lab, reason), audited(lab, reason));
    let good = std::fs::read(lab.intents(NODE).join(bad.file)).ok();
    let begin = Timestamp::now();
    lab.put(NODE, bad.file, &bad.document).unwrap();
    let report = lab
        .await_report(NODE, &format!("{name}: refused as {reason}"), |report| {
            let last = report["refusals"].as_array().and_then(|all| all.last());
            let at = last.and_then(|last| last["at"].as_str()?.parse::<Timestamp>().ok());
            let accepted = condition(report, "Accepted");
            last.is_some_and(|last| last["reason"] == reason)
                && at.is_some_and(|at| at >= begin)
                && accepted["status"] == "False"
                && accepted["reason"] == reason
        })
        .unwrap();
    assert_eq!(report["appliedSerial"], serial, "{name}");
    assert_eq!(metric(lab, reason), counted + 1, "{name}");
    assert_eq!(audited(lab, reason), written + 1, "{name}");
    match good {
        Some(good) => {
            let good: Value = serde_json::from_slice(&good).unwrap();
            lab.put(NODE, bad.file, &good).unwrap();
        }
        None => lab.take_away(NODE, bad.file).unwrap(),
    }
    await_serial(lab, serial);
}

#[test]
fn every_bad_document_is_refused_with_its_own_reason_and_the_last_good_one_stays_in_force() {
    let (lab, sender) = lab_without_publisher();
    let body = lab.current_body(NODE).unwrap();
    let cluster = lab.current_cluster(NODE).unwrap();
    let envelope = lab.current_envelope(NODE).unwrap();
    let cases = bad_documents((&body, &cluster), &envelope, &lab.signing().unwrap());
    assert!(
        FILES
            .iter()
            .all(|file| cases.iter().any(|bad| bad.file == *file))
    );
    let proof = lab.prove("bad documents", &sender, After::Flows, |lab| {
        for bad in &cases {
            let begin = Timestamp::now();
            refuse(lab, bad, body.serial.0);
            let what = format!("{}: packets by the exit after it", bad.name);
            wait_until(AGENT_DEADLINE, &what, || {
                let exited = lab.packets_since(begin)?.of(&sender.pod.uid).exited;
                Ok((exited > 0).then_some(()))
            })?;
        }
        Ok(())
    });
    let proof = proof.unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
}

#[test]
fn keys_change_only_by_a_current_key_and_a_dropped_key_signs_nothing_any_more() {
    let (lab, sender) = lab_without_publisher();
    let (old, new) = (lab.signing().unwrap(), key(2));
    let body = lab.current_body(NODE).unwrap();
    let cluster = next_cluster(&lab.current_cluster(NODE).unwrap(), 1);
    let proof = lab.prove("keys rotated", &sender, After::Flows, |lab| {
        let both = sign_key_set(&key_set(1, &[&old, &new]), std::slice::from_ref(&old));
        lab.put(NODE, KEYS, &both.unwrap())?;
        let id = KeyId::of(&new.verifying_key()).to_string();
        lab.await_report(NODE, "both keys", |report| {
            let ids = report["trustedKeyIds"].as_array();
            report["keySetVersion"] == 1 && ids.is_some_and(|ids| ids.contains(&id.as_str().into()))
        })?;
        let by_new = next(&body, 1);
        let signed = sign_intent(&by_new, std::slice::from_ref(&new)).unwrap();
        lab.put(NODE, INTENT, &signed)?;
        let signed = sign_cluster(&cluster, std::slice::from_ref(&new)).unwrap();
        lab.put(NODE, CLUSTER, &signed)?;
        await_serial(lab, by_new.serial.0);
        lab.await_report(NODE, "the cluster document by the new key", |report| {
            report["appliedClusterSerial"] == cluster.serial.0
        })?;

        let dropped = sign_key_set(&key_set(2, &[&new]), std::slice::from_ref(&new));
        lab.put(NODE, KEYS, &dropped.unwrap())?;
        lab.await_report(NODE, "the new key alone", |report| {
            report["keySetVersion"] == 2 && report["trustedKeyIds"] == serde_json::json!([id])
        })?;
        let by_old = sign_intent(&next(&body, 2), std::slice::from_ref(&old)).unwrap();
        let bad = Bad::new("signed by the dropped key", INTENT, "UnknownKey", &by_old);
        refuse(lab, &bad, by_new.serial.0);
        // The agent was installed with the old key: what it pinned counts, also after a restart.
        lab.stop("agent-n1")?;
        lab.start_agent(NODE)?;
        refuse(lab, &bad, by_new.serial.0);
        Ok(())
    });
    let proof = proof.unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
}

#[test]
fn a_corrupt_ledger_seals_the_node_until_a_fresh_intent_comes() {
    let (lab, sender) = lab_without_publisher();
    let body = lab.current_body(NODE).unwrap();
    let proof = lab.prove("ledger corrupt", &sender, After::Stops, |lab| {
        lab.stop("agent-n1")?;
        lab.take_away(NODE, INTENT)?;
        let path = lab.node_dir(NODE).join("state/ledger.json");
        let mut text = std::fs::read(&path).unwrap();
        let middle = text.len() / 2;
        text[middle] = if text[middle] == b'A' { b'B' } else { b'A' };
        std::fs::write(&path, text).unwrap();
        lab.start_agent(NODE)?;
        let report = lab.await_report(NODE, "the ledger is lost", |report| {
            condition(report, "Accepted")["reason"] == "LedgerLost"
        })?;
        assert_eq!(
            condition(&report, "FailClosed")["status"],
            "True",
            "{report}"
        );
        assert!(
            lab.audit(NODE)
                .iter()
                .any(|line| line["event"] == "LedgerLost")
        );
        lab.await_silence(&sender).map(drop)
    });
    let proof = proof.unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
    assert_eq!(proof.arrived_after, 0, "{proof:?}");

    let fresh = next(&body, 1);
    let signed = sign_intent(&fresh, &[lab.signing().unwrap()]).unwrap();
    lab.put(NODE, INTENT, &signed).unwrap();
    await_serial(&lab, fresh.serial.0);
    assert!(lab.await_exit(&sender).unwrap() > 0);
    let packets = lab.packets().unwrap();
    assert_eq!(packets.faults(), Vec::<String>::new());
}

/// What an agent can be shown here: the machine has one wall clock, so the agent finds a ledger that has seen a time 30
/// hours ahead, as it would after the clock was turned back by 30 hours while it was stopped. That the clock itself
/// never runs backwards is `node-agent/tests/wall_clock.rs`.
#[test]
fn an_expired_intent_stays_refused_when_the_wall_clock_was_turned_back_over_a_restart() {
    let (lab, sender) = lab_without_publisher();
    let body = lab.current_body(NODE).unwrap();
    let cluster = lab.current_cluster(NODE).unwrap();
    let seen = Timestamp::now() + SignedDuration::from_hours(30);
    assert!(body.not_after > Timestamp::now() && body.not_after < seen);
    let proof = lab.prove("clock turned back", &sender, After::Stops, |lab| {
        lab.stop("agent-n1")?;
        write_ledger(lab, NODE, |entries| {
            entries["highestTime"] = seen.to_string().into()
        });
        lab.start_agent(NODE)?;
        lab.await_report(NODE, "the intent is refused as expired", |report| {
            let scopes = report["scopes"].as_array().into_iter().flatten();
            let mut states = scopes.map(|scope| (&scope["state"], &scope["reason"]));
            condition(report, "Accepted")["reason"] == "Expired"
                && states.any(|state| state == (&"Blocked".into(), &"Expired".into()))
        })?;
        lab.await_silence(&sender).map(drop)
    });
    let proof = proof.unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
    assert_eq!(proof.arrived_after, 0, "{proof:?}");

    let mut fresh = next(&body, 1);
    fresh.issued_at = seen;
    fresh.not_after = seen + SignedDuration::from_hours(24);
    let signed = sign_intent(&fresh, &[lab.signing().unwrap()]).unwrap();
    lab.put(NODE, INTENT, &signed).unwrap();
    let mut fresh_cluster = next_cluster(&cluster, 1);
    fresh_cluster.issued_at = seen;
    fresh_cluster.not_after = seen + SignedDuration::from_hours(24);
    let signed = sign_cluster(&fresh_cluster, &[lab.signing().unwrap()]).unwrap();
    lab.put(NODE, CLUSTER, &signed).unwrap();
    await_serial(&lab, fresh.serial.0);
    // The judge, whose clock was not turned, takes the fresh intent for one from the future: ask the world itself.
    let since = Timestamp::now();
    sender.await_answers(&FLOWS, since, WAIT_DEADLINE).unwrap();
    let sums = sender.since(since + Duration::from_secs(1));
    let sources: BTreeSet<_> = sums.into_values().flat_map(|tally| tally.sources).collect();
    assert_eq!(sources, lab.node("gw-1").unwrap().addresses().into());
}
