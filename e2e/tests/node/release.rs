//! Letting go: written down before anything opens, ended only by a later intent or by root, and in the end the node is
//! as it was before.

use std::collections::BTreeMap;
use std::process::Output;

use crate::documents::{INTENT, RELEASE, next, release_of};
use jiff::Timestamp;
use postern_e2e::lab::{Binaries, Exec, Lab, PodOptions, Programs, UpOptions};
use postern_e2e::proof::harness::{
    After, FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};
use postern_intent::sign::{sign_intent, sign_release};
use serde_json::Value;

const NODE: &str = "n1";

/// Objects that are not ours, of each kind that Postern has too.
const FOREIGN: &str = "
nft add table inet foreign
nft add set inet foreign names '{ type ipv4_addr; elements = { 192.0.2.9 }; }'
nft add chain inet foreign out '{ type filter hook postrouting priority 50; policy accept; }'
nft add rule inet foreign out ip saddr @names drop
ip link add foreign0 type bridge
ip link set foreign0 up
ip addr add 192.0.2.1/32 dev foreign0
ip rule add pref 5000 from 192.0.2.0/24 lookup 4242
ip -6 rule add pref 5001 from 2001:db8:1::/64 lookup 4242
ip route add blackhole 198.51.100.0/24 table 4242
ip -6 route add blackhole 2001:db8:2::/64 table 4242
ip xfrm policy add src 192.0.2.0/24 dst 198.51.100.0/24 dir out action block priority 9
sysctl -qw net.ipv4.conf.default.rp_filter=2 net.ipv4.conf.all.log_martians=1";

/// Everything of a node that Postern could have changed.
const PARTS: [(&str, &str); 9] = [
    ("ruleset", "nft -s list ruleset"),
    ("rules", "ip -j -4 rule; ip -j -6 rule"),
    (
        "routes",
        "ip -j -4 route show table all; ip -j -6 route show table all",
    ),
    ("policies", "ip xfrm policy"),
    ("links", "ip -o link"),
    ("addresses", "ip -o addr"),
    (
        "settings of all",
        "grep -rs . /proc/sys/net/ipv4/conf/all /proc/sys/net/ipv6/conf/all",
    ),
    (
        "settings of default",
        "grep -rs . /proc/sys/net/ipv4/conf/default /proc/sys/net/ipv6/conf/default",
    ),
    (
        "settings of the uplink",
        "grep -rs . /proc/sys/net/ipv4/conf/eth0 /proc/sys/net/ipv6/conf/eth0",
    ),
];

fn picture(lab: &Lab) -> BTreeMap<&'static str, String> {
    let read = |line: &str| {
        let output = lab.exec(Exec::Node(NODE), &["sh", "-c", line]).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    PARTS
        .iter()
        .map(|(name, line)| (*name, read(line)))
        .collect()
}

/// Runs a verb of the agent's program on the node, as a person would.
fn agent(lab: &Lab, verb: &[&str]) -> Output {
    let program = Binaries::locate().unwrap().path("postern-agent");
    let run = lab.run_dir(NODE);
    let mut line = vec![
        program.to_str().unwrap(),
        verb[0],
        "--run-dir",
        run.to_str().unwrap(),
    ];
    line.extend(&verb[1..]);
    lab.exec(Exec::Node(NODE), &line).unwrap()
}

fn cleanup(lab: &Lab, more: &[&str]) -> Result<String, String> {
    let state = lab.node_dir(NODE).join("state");
    let verb = ["cleanup", "--state-dir", state.to_str().unwrap()];
    let output = agent(lab, &[&verb, more].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

fn ledger(lab: &Lab) -> Value {
    let path = lab.node_dir(NODE).join("state/ledger.json");
    let page: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    serde_json::from_str(page["entries"].as_str().unwrap()).unwrap()
}

fn await_released(lab: &Lab, since: Timestamp) -> Value {
    lab.await_report(NODE, "the node is released", |report| {
        let at = report["verifiedAt"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok());
        report["released"] == true && at.is_some_and(|at| at >= since)
    })
    .unwrap()
}

fn await_serial(lab: &Lab, serial: u64) {
    lab.await_report(NODE, "the intent in force", |report| {
        report["released"] == false && report["appliedSerial"] == serial
    })
    .unwrap();
}

fn by_the_uplink(lab: &Lab, sender: &Sender) {
    let since = Timestamp::now();
    wait_until(WAIT_DEADLINE, "packets by the node's uplink", || {
        let count = lab.packets_since(since)?.of(&sender.pod.uid);
        Ok((count.arrived > count.exited).then_some(()))
    })
    .unwrap();
}

/// A node that was pictured before Postern came, and on which a pod's packets leave by an exit now.
fn enforcing_on_a_pictured_node() -> (TestLab, Sender, BTreeMap<&'static str, String>) {
    Binaries::locate()
        .unwrap()
        .build(&UpOptions::default())
        .unwrap();
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        programs: Programs::Bare,
        ..UpOptions::default()
    })
    .unwrap();
    lab.shell(NODE, &format!("set -e{FOREIGN}")).unwrap();
    let pod = PodOptions::on(NODE).label("app", "crawler");
    let sender = lab.sender("crawlers/crawler", pod).unwrap();
    by_the_uplink(&lab, &sender);
    let before = picture(&lab);

    lab.start_publisher().unwrap();
    for node in [NODE, "gw-1"] {
        lab.start_tunnel(node).unwrap();
        lab.start_agent(node).unwrap();
    }
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    lab.await_state(NODE, "eu", "Enforcing", Timestamp::MIN)
        .unwrap();
    assert!(lab.await_exit(&sender).unwrap() > 0);
    lab.kill("publisher").unwrap();
    (lab, sender, before)
}

fn is_as_before(lab: &Lab, before: &BTreeMap<&'static str, String>, done: &str) {
    let after = picture(lab);
    for (part, text) in before {
        assert_eq!(
            &after[part], text,
            "{part} after cleanup, which said: {done}"
        );
    }
    let left = std::fs::read_dir(lab.run_dir(NODE)).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn after_release_and_cleanup_the_node_is_as_it_was_and_nothing_foreign_was_touched() {
    let (lab, sender, before) = enforcing_on_a_pictured_node();
    let held = picture(&lab);
    for part in ["ruleset", "rules", "routes", "policies", "links"] {
        assert_ne!(
            held[part], before[part],
            "{part}: something of ours is there"
        );
    }
    lab.stop("agent-n1").unwrap();
    let refused = cleanup(&lab, &[]).unwrap_err();
    assert!(refused.contains("not released"), "{refused}");
    assert_eq!(
        picture(&lab)["ruleset"],
        held["ruleset"],
        "refusing touches nothing"
    );
    lab.start_agent(NODE).unwrap();

    let begin = Timestamp::now();
    let release = release_of(&lab.current_body(NODE).unwrap(), 1, "uninstall");
    let signed = sign_release(&release, &[lab.signing().unwrap()]).unwrap();
    let proof = lab.prove(
        "released by a signed release",
        &sender,
        After::Released,
        |lab| {
            lab.put(NODE, RELEASE, &signed)?;
            await_released(lab, begin);
            Ok(())
        },
    );
    let proof = proof.unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
    let refused = cleanup(&lab, &[]).unwrap_err();
    assert!(refused.contains("an agent still answers"), "{refused}");

    lab.stop("agent-n1").unwrap();
    lab.stop("tunnel-n1").unwrap();
    let done = cleanup(&lab, &[]).unwrap();
    is_as_before(&lab, &before, &done);
    cleanup(&lab, &[]).unwrap();
}

#[test]
fn root_releases_and_cleans_up_a_node_whose_agent_is_gone_and_nothing_goes_without_a_release() {
    let (lab, sender, before) = enforcing_on_a_pictured_node();
    lab.kill("agent-n1").unwrap();
    lab.kill("tunnel-n1").unwrap();
    let held = picture(&lab);
    let refused = cleanup(&lab, &[]).unwrap_err();
    assert!(refused.contains("not released"), "{refused}");
    for part in ["ruleset", "rules", "policies"] {
        let after = picture(&lab);
        assert_eq!(after[part], held[part], "refusing touches no {part}");
    }
    let release = ["--release", "--reason", "the node leaves the cluster"];
    let done = cleanup(&lab, &release).unwrap();
    is_as_before(&lab, &before, &done);
    assert!(done.lines().count() > 10, "{done}");
    let opened = sender.await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE);
    opened.unwrap();
    let written = ledger(&lab)["release"].clone();
    assert_eq!(written["by"], "RootWithoutAgent", "{written}");
    assert_eq!(written["reason"], "the node leaves the cluster");
    // The release is in the ledger, so that a second cleanup needs no other one.
    cleanup(&lab, &[]).unwrap();
}

#[test]
fn root_releases_a_node_in_writing_and_only_a_later_intent_or_root_ends_it() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender(NODE).unwrap();
    lab.kill("publisher").unwrap();
    let body = lab.current_body(NODE).unwrap();
    await_serial(&lab, body.serial.0);

    // The counter takes the audit line, which follows the ledger, for the moment from which the uplink is allowed.
    let begin = Timestamp::now();
    let proof = lab.prove("released by root", &sender, After::Released, |lab| {
        let output = agent(lab, &["release", "--reason", "the exit is broken"]);
        assert!(output.status.success(), "{output:?}");
        await_released(lab, begin);
        by_the_uplink(lab, &sender);
        Ok(())
    });
    let proof = proof.unwrap();
    assert_eq!(proof.faults(), Vec::<String>::new(), "{proof:?}");
    let written = ledger(&lab)["release"].clone();
    assert_eq!(written["by"], "RootOnSocket");
    assert_eq!(written["reason"], "the exit is broken");
    assert_eq!(written["serial"], body.serial.0);

    let again = Timestamp::now();
    lab.stop("agent-n1").unwrap();
    lab.start_agent(NODE).unwrap();
    await_released(&lab, again);
    // The same instructions under the same serial do not count, however they arrive.
    let metric = "postern_agent_refused_documents_total{reason=\"Replayed\"}";
    let counted = wait_until(WAIT_DEADLINE, "the agent's metrics", || {
        Ok(lab.agent_metric(NODE, metric).ok())
    })
    .unwrap();
    let envelope = serde_json::to_string_pretty(&lab.current_envelope(NODE).unwrap()).unwrap();
    let path = lab.intents(NODE).join(INTENT);
    lab.write_atomically(&path, envelope.as_bytes()).unwrap();
    wait_until(WAIT_DEADLINE, "the refusal of the old intent", || {
        Ok((lab.agent_metric(NODE, metric)? > counted).then_some(()))
    })
    .unwrap();
    await_released(&lab, again);
    by_the_uplink(&lab, &sender);

    let later = sign_intent(&next(&body, 1), &[lab.signing().unwrap()]).unwrap();
    lab.put(NODE, INTENT, &later).unwrap();
    await_serial(&lab, body.serial.0 + 1);
    assert!(lab.await_exit(&sender).unwrap() > 0);
    assert!(ledger(&lab)["release"].is_null());

    let second = Timestamp::now();
    assert!(
        agent(&lab, &["release", "--reason", "once more"])
            .status
            .success()
    );
    await_released(&lab, second);
    assert!(agent(&lab, &["claim"]).status.success());
    await_serial(&lab, body.serial.0 + 1);
    assert!(lab.await_exit(&sender).unwrap() > 0);
    let packets = lab.packets().unwrap();
    assert_eq!(packets.faults(), Vec::<String>::new());
}
