//! `posternctl explain pod --to` where the answer falls short: names that nobody asks for, nodes and pods of which too little is
//! known.

use serde_json::{Value, json};

use crate::folder::{KEYS, Lab};
use crate::packet::{INPUTS, lab, pod, said};
use crate::verbs::{ends, posternctl, text};

const NAME: &str = "10.96.0.10 --port 53 --protocol UDP";
const PACKET: &str = "203.0.113.5 --port 8080";

/// The node has seen newer documents than there are.
fn wait_for_an_approval(lab: &Lab, node: &str) {
    let (_, key) = KEYS.iter().find(|(name, _)| *name == node).expect("a key");
    lab.report(node, Some(key), 1_795_000_000_000);
}

fn says(found: &Value, words: &str) {
    let summary = found["summary"].as_str().expect("a sentence");
    assert!(summary.contains(words), "{summary}");
}

/// What standard error has about a pod, or about its packet where these arguments name one.
fn refused(lab: &Lab, name: &str, packet: &str) -> String {
    let packet: Vec<&str> = packet.split_whitespace().collect();
    let output = posternctl(
        lab,
        &[&["explain", "pod", name], &packet[..], &INPUTS].concat(),
    );
    ends(&output, 1);
    text(&output)
}

#[test]
fn a_name_that_nobody_is_asked_for_is_a_finding_with_its_reason() {
    let lab = lab();
    let found = said(&lab, "both", NAME, 0);
    let asked = json!({"type": "Asked", "exit": "eu", "resolvers": ["9.9.9.9:53"]});
    assert_eq!(found["names"], asked, "{found}");
    assert_eq!(said(&lab, "both", PACKET, 0)["names"], Value::Null);
    // On the gateway no rule judges the forwarder's sockets, so that it asks nobody whom the exit does not offer.
    let found = said(&lab, "crawl-gw", NAME, 3);
    assert_eq!(found["result"], "AsksForwarder", "{found}");
    let not_reached = json!({"type": "NotAsked", "reason": "NotReached"});
    assert_eq!(found["names"], not_reached, "{found}");
    says(&found, "others fail, because the exit has no address of");
}

#[test]
fn a_blocked_pod_asks_for_names_of_the_cluster_alone() {
    let lab = lab();
    let pod = pod("safe", "vault", "{ip: 10.244.2.30}").replace("crawlers", "vault");
    lab.write("manifests/vault.yaml", &pod);
    let found = said(&lab, "vault/safe", PACKET, 3);
    let cause = json!({"type": "PodBlocked", "reason": "NamespaceDeny"});
    assert_eq!(found["cause"], cause, "{found}");
    let found = said(&lab, "vault/safe", NAME, 3);
    let refused = json!({"type": "NotAsked", "reason": "Refused"});
    assert_eq!(found["names"], refused, "{found}");
    says(&found, "others are refused: ");
}

#[test]
fn a_node_that_waits_for_an_approval_is_not_guessed_at_but_what_stays_in_the_pod_is_known() {
    let lab = lab();
    wait_for_an_approval(&lab, "worker");
    let waits = refused(&lab, "crawlers/both", &format!("--to {PACKET}"));
    assert!(
        waits.contains("what node worker carries is not known"),
        "{waits}"
    );
    let found = said(&lab, "both", "127.0.0.1 --port 80", 0);
    assert_eq!(found["result"], "StaysInPod", "{found}");
    assert_eq!(found["assumed"], json!([]), "{found}");
}

#[test]
fn a_gateway_that_waits_for_an_approval_leaves_the_answer_of_the_pods_node() {
    let lab = lab();
    wait_for_an_approval(&lab, "gw");
    let found = said(&lab, "both", PACKET, 3);
    let way = [&found["result"], &found["exit"], &found["gateway"]];
    assert_eq!(way, ["NotKnown", "eu", "gw"], "{found}");
    assert_eq!(found["cause"]["rule"], "web", "{found}");
    says(
        &found,
        "What gateway gw does with it is not known: what node gw carries is not known here",
    );
    says(&found, "gets none until a person approves");
}

#[test]
fn a_pod_that_cannot_be_explained_is_told_alike_with_a_packet_and_without() {
    let lab = lab();
    let waiting = pod("waiting", "crawler", "").replace("nodeName: worker, ", "");
    lab.write("manifests/waiting.yaml", &waiting);
    for (name, words) in [
        (
            "crawlers/waiting",
            "pod crawlers/waiting is bound to no node yet",
        ),
        (
            "crawlers/nobody",
            "there is no Pod crawlers/nobody among the inputs",
        ),
        ("waiting", "\"waiting\" is not namespace/name"),
    ] {
        for packet in ["", &format!("--to {PACKET}")] {
            let said = refused(&lab, name, packet);
            assert!(said.contains(words), "{said}");
        }
    }
}
