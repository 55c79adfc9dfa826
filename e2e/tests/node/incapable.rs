//! What a node cannot do: it is named, what can still be blocked is blocked, and neighbours stay guarded.

use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::lab::{Exec, PodOptions, UpOptions};
use postern_e2e::proof::harness::{Sender, TestLab, WAIT_DEADLINE, wait_until};
use serde_json::Value;

use crate::holes::second_interface;

/// One condition of a report.
fn condition(report: &Value, kind: &str) -> (String, String) {
    let found = report["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .cloned()
        .unwrap_or_default();
    let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (word("status"), word("reason"))
}

/// Checks of `postern-agent preflight` on a node that did not pass.
fn preflight(lab: &TestLab, node: &str) -> String {
    let program = postern_e2e::lab::Binaries::locate()
        .unwrap()
        .path("postern-agent");
    let program = program.to_str().unwrap();
    let output = lab
        .exec(Exec::Node(node), &[program, "preflight", "-o", "json"])
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn silent(lab: &TestLab, sender: &Sender) {
    let from = lab.await_silence(sender).unwrap();
    lab.await_attempts(sender, from).unwrap();
    let count = lab.pod_since(sender, from).unwrap();
    assert_eq!(
        count.arrived,
        0,
        "packets of {} after {from}",
        sender.pod.key()
    );
}

#[test]
fn without_a_tun_device_the_scope_is_blocked_and_says_so() {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    lab.stop("agent-n1").unwrap();
    lab.kill("tunnel-n1").unwrap();
    lab.shell(
        "n1",
        "ip link delete pst-c-eu; mount -t tmpfs none /dev/net",
    )
    .unwrap();
    lab.start_agent("n1").unwrap();
    let report = lab
        .await_report("n1", "no tunnel possible", |report| {
            report["capabilities"]["tunnels"] == "None"
                && report["scopes"][0]["state"] == "Blocked"
                && report["scopes"][0]["reason"] == "NoTunnel"
        })
        .unwrap();
    assert_eq!(condition(&report, "FailClosed").0, "True");
    silent(&lab, &sender);
    assert!(preflight(&lab, "n1").contains("tun"));
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn without_nft_the_lock_holds_what_it_can_and_no_guarded_pod_starts() {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    lab.stop("agent-n1").unwrap();
    // The tables go and nft with them: only what does not need nft is left.
    let own = lab.runtime_programs("n1");
    std::fs::create_dir_all(&own).unwrap();
    lab.shell(
        "n1",
        &format!("cp \"$(command -v nft)\" {}/nft", own.display()),
    )
    .unwrap();
    lab.shell(
        "n1",
        "nft flush ruleset; mount --bind /dev/null \"$(readlink -f \"$(command -v nft)\")\"",
    )
    .unwrap();
    lab.start_agent("n1").unwrap();
    let report = lab
        .await_report("n1", "no guard possible", |report| {
            condition(report, "FailClosed").0 == "False"
        })
        .unwrap();
    assert_eq!(condition(&report, "FailClosed").1, "NoGuard");
    assert_eq!(condition(&report, "SecondLock").0, "True");
    silent(&lab, &sender);
    let guarded = PodOptions {
        timeout: Duration::from_secs(3),
        ..PodOptions::on("n1").label("app", "crawler")
    };
    // The plugins before ours still find nft, so that the refusal is ours.
    let refused = lab.sender("crawlers/late", guarded).unwrap_err();
    let by_us =
        matches!(&refused, LabError::Cni { plugin, code: 11, .. } if plugin == "postern-cni");
    assert!(by_us, "{refused:?}");
    assert!(preflight(&lab, "n1").contains("nft"));
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// Waits until the report counts this many unenforceable pods, and none as blocked.
fn is_unenforceable(lab: &TestLab, deadline: Duration, pods: u64) {
    let report = lab
        .await_report_for(deadline, "n1", "the bypass in the report", |report| {
            condition(report, "Verified").1 == "DataplaneBypassed"
                && report["scopes"][0]["pods"]["unenforceable"] == pods
        })
        .unwrap();
    let pods = &report["scopes"][0]["pods"];
    assert_eq!(pods["blocked"], 0, "never reported as blocked: {pods}");
}

/// A filter of tc that sends what a pod sends past netfilter.
fn redirect_past_netfilter(lab: &TestLab, pod: &str) -> String {
    let bindings = lab.node_dir("n1").join("state/bindings.json");
    let read = format!(
        "jq -r '.byContainer[] | select(.name == \"{pod}\") | .hostInterface' {}",
        bindings.display()
    );
    let link = lab.shell("n1", &read).unwrap().trim().to_owned();
    let redirect = format!(
        "tc qdisc add dev {link} clsact && tc filter add dev {link} ingress protocol all u32 match u32 0 0 \
         action mirred egress redirect dev eth0"
    );
    lab.shell("n1", &redirect).unwrap();
    link
}

/// By then the report names what only the next look finds: the agent looks every three seconds.
const LOOKED: Duration = Duration::from_secs(5);

#[test]
fn a_pod_whose_path_bypasses_the_guard_is_named_and_its_neighbour_stays_guarded() {
    let lab = TestLab::up(&UpOptions::default()).unwrap();
    let neighbour = lab.selected_sender("n1").unwrap();
    let selected = || PodOptions::on("n1").label("app", "crawler");
    let second = lab.sender("crawlers/second", selected()).unwrap();
    let bypassed = lab.sender("crawlers/bypassed", selected()).unwrap();
    for sender in [&second, &bypassed] {
        assert!(lab.await_exit(sender).unwrap() > 0);
    }
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
    // Nothing on the node changes by it: an interface of the pod whose other end is elsewhere.
    second_interface(&lab, &second.pod);
    is_unenforceable(&lab, LOOKED, 1);
    let link = redirect_past_netfilter(&lab, "bypassed");
    let begun = Timestamp::now();
    is_unenforceable(&lab, WAIT_DEADLINE, 2);
    assert!(preflight(&lab, "n1").contains(&link));
    wait_until(
        WAIT_DEADLINE,
        "packets of the neighbour by its exit",
        || Ok((lab.pod_since(&neighbour, begun)?.exited > 0).then_some(())),
    )
    .unwrap();
    let packets = lab.packets().unwrap();
    let leaks = &packets.leaks;
    for (pod, port) in [(&second, "extra"), (&bypassed, "n1")] {
        let key = pod.pod.key();
        let past = leaks
            .iter()
            .any(|leak| leak.pod == key && leak.node == port);
        assert!(past, "{key} leaves by {port}: {leaks:?}");
    }
    let neighbours = neighbour.pod.key();
    assert!(leaks.iter().all(|leak| leak.pod != neighbours), "{leaks:?}");
    assert_eq!((packets.dropped, packets.agreed), (0, true));
}
