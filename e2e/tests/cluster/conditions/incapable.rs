//! A node that cannot do its part: the policy counts and names it, and a taint that waits for the guard stays.

use postern_e2e::lab::{Lab, PodOptions};
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};
use serde_json::json;

use crate::conditions::reading::{await_conditions, cluster, egp};
use crate::plane::{condition, get};

fn taints(lab: &Lab, node: &str) -> String {
    let way = "jsonpath={.spec.taints[*].key}";
    lab.kubectl_ok(&["get", "node", node, "-o", way]).unwrap()
}

/// The taint with which a node starts, here without eviction of what runs there.
fn taint(lab: &Lab, node: &str) {
    let startup = "postern.dev/not-sealed=:NoSchedule";
    lab.kubectl_ok(&["taint", "node", node, startup]).unwrap();
}

fn await_untainted(lab: &Lab, node: &str) {
    wait_until(WAIT_DEADLINE, "a node without its startup taint", || {
        Ok(taints(lab, node).is_empty().then_some(()))
    })
    .unwrap();
}

/// Waits until the policy counts so many pods as enforced and as blocked.
fn await_pods(lab: &Lab, enforced: u64, blocked: u64) {
    let mut last = json!(null);
    let waited = wait_until(WAIT_DEADLINE, "the counts of the policy", || {
        last = get(lab, &egp("crawler"))?["status"]["pods"].clone();
        let is = last["enforced"] == enforced && last["blocked"] == blocked;
        Ok(is.then_some(()))
    });
    assert!(waited.is_ok(), "{enforced} {blocked}: {waited:?}: {last:#}");
}

#[test]
fn a_node_that_can_make_no_tunnel_or_no_guard_is_counted_and_named_and_keeps_its_startup_taint() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let pod = PodOptions::on("n2").label("app", "crawler");
    let other = lab.sender("crawlers/other", pod).unwrap();
    let both = ("Ready", "True", "Ready", "2 pods leave by exit eu");
    await_conditions(&lab, &egp("crawler"), &[both]);

    // No TUN devices: the node blocks its pods, and the policy says which node.
    lab.stop("agent-n1").unwrap();
    lab.kill("tunnel-n1").unwrap();
    let line = "ip link delete pst-c-eu; mount -t tmpfs none /dev/net";
    lab.shell("n1", line).unwrap();
    lab.start_agent("n1").unwrap();
    let named = ("Ready", "False", "NoTunnel", "nodes that block them: n1");
    await_conditions(&lab, &egp("crawler"), &[named]);
    await_pods(&lab, 1, 1);
    // Its guard is there all the same.
    taint(&lab, "n1");
    await_untainted(&lab, "n1");

    // Neither nft: the node has no guard.
    lab.stop("agent-n1").unwrap();
    let nft = lab
        .shell("n1", "readlink -f \"$(command -v nft)\"")
        .unwrap();
    let nft = nft.trim();
    let line = format!("umount /dev/net; nft flush ruleset; mount --bind /dev/null {nft}");
    lab.shell("n1", &line).unwrap();
    lab.start_tunnel("n1").unwrap();
    lab.start_agent("n1").unwrap();
    lab.await_report("n1", "no guard possible", |report| {
        let report = json!({ "status": report });
        condition(&report, "FailClosed").is_some_and(|found| found["status"] == "False")
    })
    .unwrap();
    let named = [
        ("Programmed", "False", "Converging", "n1"),
        ("Ready", "False", "DataplaneBypassed", "on n1"),
        ("FullyEnforced", "False", "DataplaneBypassed", "on n1"),
    ];
    await_conditions(&lab, &egp("crawler"), &named);
    await_pods(&lab, 1, 0);

    // The watch shows the taints in their order: where the later one is gone, the earlier one was seen.
    taint(&lab, "n1");
    taint(&lab, "n2");
    await_untainted(&lab, "n2");
    assert_eq!(taints(&lab, "n1"), "postern.dev/not-sealed");

    lab.shell("n1", &format!("umount {nft}")).unwrap();
    lab.kill("agent-n1").unwrap();
    lab.start_agent("n1").unwrap();
    await_untainted(&lab, "n1");
    await_conditions(&lab, &egp("crawler"), &[both]);
    lab.await_exit(&other).unwrap();
}
