//! Gateways under the traffic of other nodes: their objects are removed, a standby takes over, several exits stand side by
//! side on one client.

use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::lab::{Lab, PodOptions, UpOptions};
use postern_e2e::proof::harness::{
    FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};
use serde_json::Value;

const GATEWAY: &str = "gw-1";

/// The longest time without an answer while a gateway is repaired, counted from the removal.
const SILENCE: Duration = Duration::from_secs(3);

/// What another program does to a gateway that serves `eu`.
const REMOVALS: [(&str, &str); 9] = [
    ("the whole ruleset flushed", "nft flush ruleset"),
    (
        "our tables deleted",
        "nft 'delete table inet postern; delete table bridge postern'",
    ),
    ("guard chain flushed", "nft flush chain inet postern guard"),
    (
        "what the exit lets through flushed",
        "nft flush chain inet postern exit_forward",
    ),
    (
        "the translation flushed",
        "nft flush chain inet postern translate",
    ),
    ("every XFRM policy flushed", "ip xfrm policy flush"),
    ("served device deleted", "ip link delete pst-s-eu"),
    ("served device set down", "ip link set pst-s-eu down"),
    (
        "addresses of the served device removed",
        "ip address flush dev pst-s-eu",
    ),
];

/// Everything that was applied is in force on these nodes, so that the judge knows it.
fn in_force(lab: &Lab, nodes: &[&str]) {
    for node in nodes {
        wait_until(WAIT_DEADLINE, "the last intent in the report", || {
            let digest = lab.current_envelope(node)?.digest().unwrap();
            let report = lab.report_status(node).unwrap_or_default();
            Ok((report["appliedDigest"] == digest).then_some(()))
        })
        .unwrap();
    }
}

fn nothing_leaked(lab: &Lab) {
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

/// The timer looks once an hour here: a repair is the doing of the watch, or there is none.
#[test]
fn what_somebody_else_removes_from_a_gateway_is_repaired_at_once_and_its_clients_leak_nothing() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        agent_arguments: vec!["--check-seconds=3600".to_owned()],
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    for (event, line) in REMOVALS {
        let (before, begun) = (lab.repairs(GATEWAY), Timestamp::now());
        lab.shell(GATEWAY, line).unwrap();
        let what = format!("{event}: the repair without a timer");
        wait_until(WAIT_DEADLINE, &what, || {
            Ok((lab.repairs(GATEWAY) > before).then_some(()))
        })
        .unwrap();
        let repaired = Timestamp::now();
        if line == "nft flush ruleset" {
            lab.restore_masquerade(GATEWAY).unwrap();
            lab.translate_services().unwrap();
        }
        let back = sender.await_answers(&FLOWS, repaired, WAIT_DEADLINE);
        assert!(back.is_ok(), "{event}: {back:?}");
        println!("{event}: {:?}", sender.longest_silences(begun));
        let silent = sender.silent_longer_than(SILENCE, begun);
        assert_eq!(silent, Vec::new(), "{event}");
    }
    nothing_leaked(&lab);
}

/// The label by which an exit finds its gateways.
fn label(lab: &Lab, node: &str, value: Option<&str>) {
    let mut object = lab.object("Node", "", node).unwrap().unwrap();
    let labels = object["metadata"]["labels"].as_object_mut().unwrap();
    match value {
        Some(value) => drop(labels.insert("postern.dev/exit".to_owned(), Value::from(value))),
        None => drop(labels.remove("postern.dev/exit")),
    }
    lab.apply(vec![object]).unwrap();
}

/// Waits until every flow of a sender is answered and leaves by this node alone.
fn leaves_by(lab: &Lab, sender: &Sender, gateway: &str) {
    let own = lab.node(gateway).unwrap().addresses();
    let what = format!("{} leaves by {gateway} alone", sender.pod.key());
    wait_until(WAIT_DEADLINE, &what, || {
        let since = Timestamp::now();
        sender.await_answers(&FLOWS, since, WAIT_DEADLINE)?;
        let sums = sender.since(since + Duration::from_secs(1));
        let mut sources = sums.values().flat_map(|tally| &tally.sources);
        Ok(sources.all(|source| own.contains(source)).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_standby_takes_over_and_two_exits_of_one_node_stay_apart_and_swap_their_pods() {
    let lab = TestLab::up(&UpOptions {
        gateways: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    label(&lab, "gw-2", Some("gw-1"));
    label(&lab, "gw-1", None);
    leaves_by(&lab, &sender, "gw-2");
    label(&lab, "gw-1", Some("us"));
    let other = policy("us", "")
        .replace("name: crawler}", "name: other}")
        .replace("app: crawler}", "app: other}");
    lab.apply_yaml(&(exit("us", "us", "") + &other)).unwrap();
    let second = PodOptions::on("n1").label("app", "other");
    let second = lab.sender("crawlers/other", second).unwrap();
    leaves_by(&lab, &second, "gw-1");
    leaves_by(&lab, &sender, "gw-2");

    lab.apply_yaml(&(policy("us", "") + &other.replace("name: us}", "name: eu}")))
        .unwrap();
    leaves_by(&lab, &sender, "gw-1");
    leaves_by(&lab, &second, "gw-2");
    in_force(&lab, &["n1", "gw-1", "gw-2"]);
    nothing_leaked(&lab);
}
