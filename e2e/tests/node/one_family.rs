//! Nodes whose new devices take no IPv6.

use std::net::SocketAddr;

use jiff::Timestamp;
use postern_e2e::lab::{Exec, PodOptions};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, exit, policy, wait_until};
use serde_json::Value;

use crate::holes::{ask, both, lab, serving};

const DISABLE: &str = "net/ipv6/conf/default/disable_ipv6";

/// The answer becomes this by both protocols, and stays.
fn settles(lab: &TestLab, pod: &str, to: SocketAddr, wanted: Option<&str>) {
    for protocol in ["tcp", "udp"] {
        let mut last = None;
        let mut asked = || {
            last = ask(lab, Exec::Pod(pod), to, &["--protocol", protocol]);
            last.as_deref() == wanted
        };
        let found = wait_until(WAIT_DEADLINE, "the answer of the world", || {
            Ok(asked().then_some(()))
        });
        let stays = found.is_ok() && asked();
        assert!(stays, "{pod} {to} {protocol}: {last:?}, not {wanted:?}");
    }
}

fn message(report: &Value, kind: &str) -> String {
    let all = report["conditions"].as_array().into_iter().flatten();
    let mut found = all.filter(|one| one["type"] == kind && one["status"] == "True");
    let found = found.next().map(|one| one["message"].to_string());
    found.unwrap_or_default()
}

#[test]
fn where_new_devices_take_no_ipv6_ipv4_leaves_by_the_exit_and_ipv6_is_blocked_and_said_to_be() {
    let lab = lab(2, 1);
    let free = serving(&lab, "default/free", PodOptions::on("n1"));
    let web = serving(&lab, "crawlers/web", PodOptions::on("n1"));
    let [node4, node6] = lab.node("n1").unwrap().addresses();
    let [world4, world6] = both(&web.world[..2], 7);
    // IPv6 works for whoever is not selected, so that what blocks it later is the policy.
    settles(&lab, "crawlers/web", world4, Some(&node4.to_string()));
    settles(&lab, "crawlers/web", world6, Some(&node6.to_string()));
    lab.node_namespace("n1").sysctl(&[(DISABLE, "1")]).unwrap();
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    let gateway = lab.node("gw-1").unwrap().ipv4().to_string();
    settles(&lab, "crawlers/web", world4, Some(&gateway));
    settles(&lab, "crawlers/web", world6, None);
    let says = "IPv6 of selected pods is blocked";
    lab.await_report("n1", says, |report| {
        message(report, "Programmed").contains(says)
    })
    .unwrap();
    let [free4, free6] = both(&free.world[..2], 7);
    settles(&lab, "default/free", free4, Some(&node4.to_string()));
    settles(&lab, "default/free", free6, Some(&node6.to_string()));

    // A gateway of the same kind serves IPv4 alone, and says so of the exit.
    for (node, disabled) in [("n1", "0"), ("gw-1", "1")] {
        lab.node_namespace(node)
            .sysctl(&[(DISABLE, disabled)])
            .unwrap();
    }
    lab.apply_yaml(&(exit("us", "gw-1", "") + &policy("us", "")))
        .unwrap();
    lab.await_state("n1", "us", "Enforcing", Timestamp::MIN)
        .unwrap();
    lab.await_report("gw-1", "an exit without an uplink of IPv6", |report| {
        let exits = report["served"].as_array().into_iter().flatten();
        let mut us = exits.filter(|exit| exit["exit"] == "us");
        let paths = us.next().and_then(|exit| exit["paths"].as_array());
        let mut paths = paths.into_iter().flatten();
        paths.any(|path| path["family"] == "IPv6" && path["hop"] == "Uplink")
    })
    .unwrap();
    settles(&lab, "crawlers/web", world4, Some(&gateway));
    settles(&lab, "crawlers/web", world6, None);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
