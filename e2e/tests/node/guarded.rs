//! A guard outlives the objects that asked for it: a pod whose object, policy and namespace are gone while it still
//! sends, as on a node whose kubelet is dead, leaves by nothing until a signed intent releases it.

use jiff::Timestamp;
use postern_e2e::lab::{Lab, PodOptions, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, policy, wait_until};
use serde_json::{Value, json};

const NODE: &str = "n1";

/// Packets and connections that a case waits for where it claims that none of them leaves.
const ATTEMPTS: u64 = 3000;

fn lab() -> TestLab {
    TestLab::exactly(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap()
}

/// Waits until no pod of the node is listed and no namespace of it guarded.
fn await_silent_body(lab: &Lab, pods: u64) {
    let what = "pods that are held although no intent lists them";
    lab.await_report(NODE, what, |report| {
        report["guardedNamespaces"].is_null() && report["counters"]["unlisted_pods"] == pods
    })
    .unwrap();
}

fn attempts(senders: &[&Sender]) {
    let since = Timestamp::now();
    for sender in senders {
        let what = format!("attempts of {}", sender.pod.key());
        wait_until(WAIT_DEADLINE, &what, || {
            Ok((sender.attempted_since(since) > ATTEMPTS).then_some(()))
        })
        .unwrap();
    }
}

fn nothing_left(lab: &Lab, senders: &[&Sender], since: Timestamp) {
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
    let later = lab.packets_since(since).unwrap();
    for sender in senders {
        let count = later.of(&sender.pod.uid);
        assert_eq!((count.arrived, count.before), (0, 0), "{count:?}");
    }
}

fn stored(lab: &Lab, sender: &Sender) -> Value {
    let object = lab.object("Pod", "crawlers", &sender.pod.name);
    object.unwrap().unwrap()
}

#[test]
fn a_pod_whose_object_policy_and_namespace_go_while_it_sends_is_held_until_it_is_released() {
    let lab = lab();
    let gone = lab.selected_sender(NODE).unwrap();
    let options = PodOptions::on(NODE).label("app", "crawler");
    let failed = lab.sender("crawlers/failed", options).unwrap();
    lab.await_exit(&failed).unwrap();
    let senders = [&gone, &failed];

    // No CNI DEL: the kubelet, which would ask for it, is dead. The one object is deleted by force, the other one is
    // set to `Failed` as the collector of lost pods does it.
    let object = stored(&lab, &gone);
    let mut over = stored(&lab, &failed);
    over["status"]["phase"] = json!("Failed");
    lab.delete(std::slice::from_ref(&object)).unwrap();
    lab.apply(vec![over]).unwrap();
    let what = "the end of the pods in the intent";
    wait_until(WAIT_DEADLINE, what, || {
        let body = lab.current_body(NODE)?;
        let mut listed = body.pods.iter();
        Ok((!listed.any(|pod| pod.namespace.as_str() == "crawlers")).then_some(()))
    })
    .unwrap();
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: crawlers}\n";
    lab.delete_yaml(&(policy("eu", "") + namespace)).unwrap();
    await_silent_body(&lab, 2);
    let since = Timestamp::now();
    attempts(&senders);
    nothing_left(&lab, &senders, since);

    lab.kill("agent-n1").unwrap();
    lab.start_agent(NODE).unwrap();
    attempts(&senders);
    await_silent_body(&lab, 2);
    nothing_left(&lab, &senders, since);

    // Listed again, in a namespace that is not guarded: a signed document lets it leave.
    lab.apply(vec![object]).unwrap();
    wait_until(WAIT_DEADLINE, "packets of the released pod", || {
        Ok((lab.pod_since(&gone, since)?.arrived > 0).then_some(()))
    })
    .unwrap();
    await_silent_body(&lab, 1);
    assert_eq!(lab.pod_since(&failed, since).unwrap().arrived, 0);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
