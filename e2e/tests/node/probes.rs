//! Probes of exits: what no reading of a node's own kernel shows is found, named by its hop, and ended as soon as it can be.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_e2e::lab::PodOptions;
use postern_e2e::proof::harness::{FLOWS, WAIT_DEADLINE, exit, policy, wait_until};
use serde_json::Value;

use crate::holes::lab;

/// The state and hop of IPv4 in the report's list of exits that are used or served.
fn path(report: &Value, list: &str) -> (String, String) {
    let exits = report[list].as_array().into_iter().flatten();
    let mut paths = exits.flat_map(|exit| exit["paths"].as_array().into_iter().flatten());
    let four = paths.find(|path| path["family"] == "IPv4");
    let word = |name: &str| four.map_or("", |path| path[name].as_str().unwrap_or_default());
    (word("state").to_owned(), word("hop").to_owned())
}

fn is(list: &'static str, state: &'static str, hop: &'static str) -> impl Fn(&Value) -> bool {
    move |report| path(report, list) == (state.to_owned(), hop.to_owned())
}

/// How long the gateway's process is away.
const AWAY: Duration = Duration::from_secs(3);
/// The longest time in which a flow may have no answer once everything is there.
const OUTAGE: Duration = Duration::from_secs(1);
/// How often the only pod of an exit is made again.
const ROUNDS: usize = 8;

#[test]
fn the_only_pod_of_an_exit_that_is_made_again_at_once_is_answered_within_a_second() {
    let lab = lab(2, 1);
    lab.selected_sender("n1").unwrap();
    for round in 1..=ROUNDS {
        lab.delete_pod("crawlers/crawler").unwrap();
        let pod = PodOptions::on("n1").label("app", "crawler");
        let sender = lab.sender("crawlers/crawler", pod).unwrap();
        lab.await_state("n1", "eu", "Enforcing", Timestamp::now())
            .unwrap();
        let enforcing = Timestamp::now();
        // A silence that is too long is told with the numbers of each flow.
        drop(sender.await_answers(&FLOWS, enforcing, WAIT_DEADLINE));
        let began = sender.began().unwrap();
        let first = sender.longest_silences(began);
        println!("round {round}, from the start of the process: {first:?}");
        let silent = sender.silent_longer_than(OUTAGE, began);
        assert_eq!(silent, Vec::new(), "round {round}");
        let silent = sender.silent_longer_than(OUTAGE / 2, enforcing);
        assert_eq!(
            silent,
            Vec::new(),
            "round {round}: a scope that reports Enforcing"
        );
    }
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn a_gateway_that_falls_silent_is_found_at_once_and_its_return_ends_the_outage() {
    let lab = lab(2, 1);
    let sender = lab.selected_sender("n1").unwrap();
    lab.await_report("n1", "an answer of the gateway", is("exits", "Works", ""))
        .unwrap();

    let killed = Instant::now();
    lab.kill("tunnel-gw-1").unwrap();
    lab.await_report(
        "n1",
        "the silence of the gateway",
        is("exits", "Broken", "Tunnel"),
    )
    .unwrap();
    let found = killed.elapsed();
    lab.await_state("n1", "eu", "Blocked", Timestamp::MIN)
        .unwrap();
    wait_until(WAIT_DEADLINE, "three seconds away", || {
        Ok((killed.elapsed() >= AWAY).then_some(()))
    })
    .unwrap();
    // WireGuard alone tries again only 10 s after packets stay unanswered, and then every 5 s.
    lab.start_tunnel("gw-1").unwrap();
    let back = Timestamp::now();
    sender.await_answers(&FLOWS, back, WAIT_DEADLINE).unwrap();
    let outage = sender.longest_silences(back);
    println!("found after {found:?}, silent after the process was back: {outage:?}");
    assert!(found < Duration::from_secs(5), "found after {found:?}");
    assert_eq!(sender.silent_longer_than(OUTAGE, back), Vec::new());
    lab.await_report("n1", "an answer of the gateway", is("exits", "Works", ""))
        .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn a_path_that_drops_packets_while_all_objects_are_right_is_named_by_its_hop() {
    let lab = lab(2, 1);
    let bystander = lab.pod_on("default/near", &PodOptions::on("n1")).unwrap();
    let resolver = bystander.world[2];
    let names = format!("dns: {{upstreams: [\"{resolver}\"]}}");
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", &names)))
        .unwrap();
    let pod = PodOptions::on("n1").label("app", "crawler");
    let sender = lab.sender("crawlers/crawler", pod).unwrap();
    lab.await_exit(&sender).unwrap();
    let resolved = |report: &Value| report["scopes"][0]["resolvers"] == "Answers";
    lab.await_report("n1", "an answer of the resolver", resolved)
        .unwrap();

    // A rule of somebody else in the gateway, before ours.
    let drop = "nft 'table inet other { chain f { type filter hook forward priority -300; iifname \"pst-s-*\" drop; }; }'";
    lab.shell("gw-1", drop).unwrap();
    lab.await_report(
        "n1",
        "the hop behind the tunnel",
        is("exits", "Broken", "Forward"),
    )
    .unwrap();
    lab.shell("gw-1", "nft delete table inet other").unwrap();
    lab.await_report(
        "n1",
        "the way through the gateway",
        is("exits", "Works", ""),
    )
    .unwrap();

    // An egress IP that another host has: nothing leaves with it, and the gateway says so.
    lab.shell("n1", "ip address add 192.168.10.77/24 dev eth0")
        .unwrap();
    lab.apply_yaml(&exit("eu", "gw-1", "egressIPs: [\"192.168.10.77\"]"))
        .unwrap();
    lab.await_report(
        "gw-1",
        "the missing source",
        is("served", "Broken", "Source"),
    )
    .unwrap();
    let silent = lab.await_silence(&sender).unwrap();
    lab.await_attempts(&sender, silent).unwrap();
    assert_eq!(lab.pod_since(&sender, silent).unwrap().arrived, 0);
    lab.shell("n1", "ip address delete 192.168.10.77/24 dev eth0")
        .unwrap();
    lab.await_report("gw-1", "the source", |report| {
        ["Untested", "Works"].contains(&path(report, "served").0.as_str())
    })
    .unwrap();
    lab.await_exit(&sender).unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
