//! The status of a NodeIntent: a fault of its node, for as long as it lasts.

use postern_e2e::LabError;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::wait_until;
use serde_json::{Value, json};

use crate::plane::{LONG, ask, body, cluster, condition, get, published};

/// Waits until the status of n1's intent has this condition.
fn await_condition(lab: &Lab, kind: &str, status: &str, reason: &str) -> Result<(), LabError> {
    wait_until(LONG, &format!("{kind}={status}, {reason} of n1"), || {
        let intent = get(lab, &["nodeintent", "n1"])?;
        let is_so = condition(&intent, kind)
            .is_some_and(|found| found["status"] == status && found["reason"] == reason);
        let is_about = intent["status"]["observedGeneration"] == intent["metadata"]["generation"];
        Ok((is_so && is_about).then_some(()))
    })
}

/// The WireGuard key of n1 as the gateway's intent has it.
fn key_at_the_gateway(lab: &Lab) -> Result<Option<String>, LabError> {
    let intents = published(lab)?.unwrap_or_default();
    let gateway = intents.get(1).and_then(body);
    let tunnels = gateway.iter().flat_map(|body| &body.tunnels);
    let mut peers = tunnels.flat_map(|tunnel| &tunnel.peers);
    let peer = peers.find(|peer| peer.at.node().is_some_and(|node| node.as_str() == "n1"));
    Ok(peer.map(|peer| peer.public_key.to_string()))
}

/// How many nodes the leader counts whose reports it does not accept.
fn counted(lab: &Lab) -> bool {
    let line = r#"postern_operator_nodes{condition="Accepted",status="False"} 1"#;
    (1..=2).any(|number| {
        let page = ask(lab, number, "/metrics").unwrap_or_default();
        page.lines().any(|found| found.trim() == line)
    })
}

#[test]
fn a_copied_key_is_not_taken_and_the_fault_is_described_for_as_long_as_it_lasts() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    await_condition(&lab, "Ready", "True", "Ready").unwrap();
    let own = key_at_the_gateway(&lab).unwrap();
    assert!(own.is_some());

    // What the holder of the agent's token can do: the key and the proofs of another node in this node's report.
    lab.kill("agent-n1").unwrap();
    let other: Value = get(&lab, &["nodereport", "gw-1"]).unwrap();
    let copy = json!({"status": {"publicKeys": other["status"]["publicKeys"]}});
    let patch = copy.to_string();
    let status = ["patch", "nodereport", "n1", "--subresource=status"];
    lab.kubectl_ok(&[&status[..], &["--type=merge", "-p", &patch]].concat())
        .unwrap();
    await_condition(&lab, "Accepted", "False", "KeyNotProved").unwrap();
    await_condition(&lab, "Ready", "False", "KeyNotProved").unwrap();
    // An Event is gone after an hour; here at once.
    lab.kubectl_ok(&["delete", "events.events.k8s.io", "-A", "--all"])
        .unwrap();
    let described = lab.kubectl_ok(&["describe", "nodeintent", "n1"]).unwrap();
    for word in ["KeyNotProved", "postern-agent trust-keys"] {
        assert!(described.contains(word), "{described}");
    }
    wait_until(LONG, "the metric", || Ok(counted(&lab).then_some(()))).unwrap();
    assert_eq!(key_at_the_gateway(&lab).unwrap(), own, "the pin stays");

    lab.start_agent("n1").unwrap();
    await_condition(&lab, "Ready", "True", "Ready").unwrap();
    lab.await_exit(&sender).unwrap();
}
