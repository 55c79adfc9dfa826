//! Pods that no policy selects lose nothing where they ran before Postern came and where a node's pod ranges are not known.
//! Where a node's ledger is gone they lose only the way out of the cluster, until an intent comes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use postern_e2e::lab::{Exec, PodOptions, PodRecord, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{
    FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};
use serde_json::{Value, json};

use crate::holes::{ask, serving};

const NODE: &str = "n1";
const SERVICE: &str = "10.96.0.44";

/// Unselected pods, on a client node and on the gateway, and a Service of the cluster.
struct Neighbours {
    free: PodRecord,
    near: PodRecord,
    far: PodRecord,
}

impl Neighbours {
    fn of(lab: &TestLab) -> Self {
        let free = serving(lab, "default/free", PodOptions::on(NODE));
        let near = serving(lab, "default/near", PodOptions::on(NODE));
        let far = serving(lab, "default/far", PodOptions::on("gw-1"));
        let service: IpAddr = SERVICE.parse().unwrap();
        let to = (far.addresses[0], 7);
        let policy = TrafficPolicy::Cluster;
        lab.create_service("far", Some(service), 7, to, policy)
            .unwrap();
        Self { free, near, far }
    }

    /// What an unselected pod asks and what the other side sees: each other pod, the Service, the world in both
    /// families.
    fn answers(&self, lab: &TestLab) -> Vec<(String, Option<String>)> {
        let who = Exec::Pod("default/free");
        let inside = [&self.near, &self.far]
            .map(|pod| pod.addresses.clone())
            .concat();
        let world = self.free.world[..2].to_vec();
        let service: IpAddr = SERVICE.parse().unwrap();
        let all = inside.into_iter().chain([service]).chain(world);
        all.map(|to| {
            let to = SocketAddr::new(to, 7);
            (to.to_string(), ask(lab, who, to, &["--protocol", "tcp"]))
        })
        .collect()
    }

    fn assert_untouched(&self, lab: &TestLab, when: &str) {
        let lost: Vec<String> = self
            .answers(lab)
            .into_iter()
            .filter_map(|(to, answer)| answer.is_none().then_some(to))
            .collect();
        assert_eq!(lost, Vec::<String>::new(), "{when}");
    }
}

fn condition(report: &Value, kind: &str) -> (String, String) {
    let all = report["conditions"].as_array().unwrap();
    let found = all.iter().find(|one| one["type"] == kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (
        format!("{}/{}", text("status"), text("reason")),
        text("message"),
    )
}

/// The spec of a Node object, changed; the agent learns of it by the next body.
fn edit_node(lab: &TestLab, node: &str, ranges: &[&str]) {
    let mut object = lab.object("Node", "", node).unwrap().unwrap();
    object["spec"] = match ranges.first() {
        Some(first) => json!({"podCIDR": first, "podCIDRs": ranges}),
        None => json!({"providerID": "lab"}),
    };
    lab.apply(vec![object]).unwrap();
}

#[test]
fn pods_that_ran_before_the_agent_came_are_untouched_while_no_intent_comes() {
    let lab = TestLab::bare().unwrap();
    let neighbours = Neighbours::of(&lab);
    neighbours.assert_untouched(&lab, "before");
    lab.start_agent(NODE).unwrap();
    let report = lab
        .await_report(NODE, "a guard without an intent", |report| {
            condition(report, "FailClosed").0 == "False/NoIntent"
        })
        .unwrap();
    assert_eq!(condition(&report, "Accepted").0, "Unknown/NoIntent");
    for _ in 0..3 {
        neighbours.assert_untouched(&lab, "with an agent and no intent");
    }
    lab.kill("agent-n1").unwrap();
    lab.start_agent(NODE).unwrap();
    let restarted = Timestamp::now();
    lab.await_report(NODE, "a report of the second agent", |report| {
        let at = report["verifiedAt"].as_str().and_then(|at| at.parse().ok());
        at.is_some_and(|at: Timestamp| at > restarted)
    })
    .unwrap();
    neighbours.assert_untouched(&lab, "after a restart of the agent");
}

/// What an unselected pod may be without an answer while something happens that is not about it.
const GAP: Duration = Duration::from_millis(300);

/// How many packets of a flow may be unanswered: those under way, and 50 ms of a gap.
const LOST: u64 = 10;

/// Something happens, and no flow of an unselected pod has a gap. A busy machine delays packets, and loses none.
fn without_a_gap(lab: &TestLab, free: &Sender, what: &str, act: impl FnOnce(&TestLab)) {
    let begun = Timestamp::now();
    act(lab);
    free.await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)
        .unwrap();
    println!("{what}: {:?}", free.longest_silences(begun));
    let sums = free.since(begun);
    for flow in ["icmp4", "icmp6", "udp4", "udp6"] {
        let (sent, received) = (sums[flow].sent, sums[flow].received);
        assert!(sent > 0, "{what}: {flow}");
        let lost = sent.saturating_sub(received);
        assert!(lost <= LOST, "{what}: {flow} lost {lost} of {sent}");
    }
    assert_eq!(free.silent_longer_than(GAP, begun), Vec::new(), "{what}");
}

/// The guard's chain at another priority, as another version may have had it: only a table made anew moves it back.
const MOVED: &str = "set -e; { echo 'delete table inet postern'; nft list table inet postern | \
    sed 's/hook forward priority filter - 5/hook forward priority filter - 7/'; } >moved.nft; \
    grep -c 'filter - 7' moved.nft; nft -f moved.nft; rm moved.nft";

#[test]
fn an_unselected_pod_has_no_gap_at_a_first_start_nor_at_a_moved_chain_nor_beside_a_hung_tunnel() {
    let lab = TestLab::bare().unwrap();
    let free = lab.sender("default/free", PodOptions::on(NODE)).unwrap();
    let crawler = PodOptions::on(NODE).label("app", "crawler");
    let crawler = lab.sender("crawlers/crawler", crawler).unwrap();
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    for sender in [&free, &crawler] {
        sender
            .await_answers(&FLOWS, Timestamp::MIN, WAIT_DEADLINE)
            .unwrap();
    }
    without_a_gap(&lab, &free, "first start of an agent", |lab| {
        lab.start_publisher().unwrap();
        for node in [NODE, "n2", "gw-1"] {
            lab.start_tunnel(node).unwrap();
            lab.start_agent(node).unwrap();
        }
        lab.await_state(NODE, "eu", "Enforcing", Timestamp::MIN)
            .unwrap();
    });
    without_a_gap(&lab, &free, "restart that finds a moved chain", |lab| {
        lab.kill("agent-n1").unwrap();
        lab.shell(
            NODE,
            &format!("cd {} && {MOVED}", lab.node_dir(NODE).display()),
        )
        .unwrap();
        lab.start_agent(NODE).unwrap();
        wait_until(WAIT_DEADLINE, "the chain at its own priority", || {
            let chain = lab.shell(NODE, "nft list chain inet postern guard")?;
            Ok(chain.contains("filter - 5").then_some(()))
        })
        .unwrap();
        lab.await_state(NODE, "eu", "Enforcing", Timestamp::now())
            .unwrap();
    });
    without_a_gap(&lab, &free, "table deleted beside a hung tunnel", |lab| {
        lab.signal("tunnel-n1", Signal::SIGSTOP).unwrap();
        lab.shell(NODE, "nft delete table bridge postern").unwrap();
        wait_until(WAIT_DEADLINE, "the table again", || {
            let tables = lab.shell(NODE, "nft list tables")?;
            Ok(tables.contains("table bridge postern").then_some(()))
        })
        .unwrap();
    });
    lab.signal("tunnel-n1", Signal::SIGCONT).unwrap();
    let since = Timestamp::now();
    crawler.await_answers(&FLOWS, since, WAIT_DEADLINE).unwrap();
    let gateway = lab.node("gw-1").unwrap().addresses();
    let sums = crawler.since(since + Duration::from_secs(1));
    let mut sources = sums.values().flat_map(|tally| &tally.sources);
    assert!(sources.all(|source| gateway.contains(source)), "{sums:?}");
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn nodes_without_pod_ranges_and_with_ranges_that_the_cni_does_not_use_cut_nobody_and_enforce() {
    let lab = TestLab::exactly(&UpOptions::default()).unwrap();
    let neighbours = Neighbours::of(&lab);
    lab.apply_yaml(&(exit("eu", "gw-1", "") + &policy("eu", "")))
        .unwrap();
    let selected = lab.selected_sender(NODE).unwrap();
    let gateway = lab.node("gw-1").unwrap().addresses()[0].to_string();
    for (ranges, says) in [
        (vec![], "this node's pod ranges are not known"),
        (
            vec!["10.50.1.0/24", "fd00:10:50:1::/64"],
            "which is in none of the node's pod ranges",
        ),
    ] {
        for node in [NODE, "gw-1"] {
            edit_node(&lab, node, &ranges);
        }
        let report = lab
            .await_report(NODE, says, |report| {
                condition(report, "SecondLock").1.contains(says)
            })
            .unwrap();
        assert_eq!(condition(&report, "SecondLock").0, "False/RangesUnknown");
        for kind in ["FailClosed", "Programmed", "Verified"] {
            assert!(
                condition(&report, kind).0.starts_with("True/"),
                "{kind}: {report}"
            );
        }
        neighbours.assert_untouched(&lab, says);
        let since = Timestamp::now();
        wait_until(WAIT_DEADLINE, "packets by the exit", || {
            Ok((lab.pod_since(&selected, since)?.exited > 0).then_some(()))
        })
        .unwrap();
        let world = SocketAddr::new(selected.pod.world[0], 7);
        let who = Exec::Pod("crawlers/crawler");
        assert_eq!(
            ask(&lab, who, world, &["--protocol", "tcp"]),
            Some(gateway.clone())
        );
    }
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn a_node_that_lost_its_ledger_holds_selected_pods_and_cuts_nobody_off_the_cluster() {
    let lab = TestLab::exactly(&UpOptions::default()).unwrap();
    let neighbours = Neighbours::of(&lab);
    let selected = lab.selected_sender(NODE).unwrap();
    lab.kill("publisher").unwrap();
    lab.kill("agent-n1").unwrap();
    let state = lab.node_dir(NODE).join("state");
    for name in ["ledger.json", "bindings.json"] {
        std::fs::remove_file(state.join(name)).unwrap();
    }
    std::fs::remove_dir_all(lab.intents(NODE)).unwrap();
    lab.start_agent(NODE).unwrap();
    lab.await_report(NODE, "a sealed node without an intent", |report| {
        condition(report, "Accepted").0 == "Unknown/NoIntent"
            && condition(report, "FailClosed").0 == "True/Sealed"
    })
    .unwrap();
    // Its packets arrived by the exit before; held, it sends and nothing arrives.
    let held = lab.await_silence(&selected).unwrap();
    lab.await_attempts(&selected, held).unwrap();
    assert_eq!(lab.pod_since(&selected, held).unwrap().arrived, 0);
    let inside = neighbours.answers(&lab);
    let worlds = neighbours.free.world[..2].to_vec();
    for (to, answer) in inside {
        let is_world = worlds
            .iter()
            .any(|world| SocketAddr::new(*world, 7).to_string() == to);
        assert!(answer.is_some() || is_world, "{to} inside the cluster");
    }
    let near = SocketAddr::new(neighbours.near.addresses[0], 7);
    let who = Exec::Pod("crawlers/crawler");
    assert!(ask(&lab, who, near, &["--protocol", "tcp"]).is_some());
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
