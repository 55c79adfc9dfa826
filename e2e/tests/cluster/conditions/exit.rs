//! A fault on the way of an exit: exit and policy are not ready, the reason names the hop, and both are ready again when
//! it is over.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_e2e::LabError;
use postern_e2e::cluster::Api;
use postern_e2e::lab::topology::world_address;
use postern_e2e::lab::{Exec, Lab, Programs, UpOptions};
use postern_e2e::proof::harness::{FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, wait_until};

use crate::conditions::reading::{await_conditions, egp};
use crate::plane::condition;

const OBJECTS: [&str; 2] = ["exitnodes/eu", "namespaces/crawlers/egresspolicies/crawler"];

/// The place of the agents' resolvers in the world: no pod's own.
const RESOLVERS: u32 = 40;

/// The time from the loss of a gateway's link to the conditions.
const SOON: Duration = Duration::from_secs(2);

/// Waits until exit and policy are not ready for this reason, with these words.
fn await_lost(lab: &Lab, reason: &'static str, words: &'static str) {
    for object in [&["exit", "eu"][..], &egp("crawler")] {
        await_conditions(lab, object, &[("Ready", "False", reason, words)]);
    }
}

fn await_ready(lab: &Lab) {
    await_conditions(lab, &["exit", "eu"], &[("Ready", "True", "Ready", "")]);
    await_conditions(lab, &egp("crawler"), &[("Ready", "True", "Ready", "1 pod")]);
}

/// Waits until both objects have this reason, by requests that take no processes; a wait of [`SOON`] is a claim.
fn await_soon(lab: &Lab, reason: &str) -> Result<(), LabError> {
    let mut waiting = OBJECTS.to_vec();
    wait_until(SOON, &format!("{reason} of exit and policy"), || {
        let mut left = Vec::new();
        for path in &waiting {
            let object = Api::of(lab).get(&format!("/apis/postern.dev/v1alpha1/{path}"))?;
            let object = object.unwrap_or_default();
            let ready = condition(&object, "Ready").cloned().unwrap_or_default();
            if (&ready["status"], &ready["reason"]) != (&"False".into(), &reason.into()) {
                left.push(*path);
            }
        }
        waiting = left;
        Ok(waiting.is_empty().then_some(()))
    })
}

/// A table of another program on the gateway.
fn drops(lab: &Lab, chain: &str) {
    lab.shell(
        "gw-1",
        &format!("nft 'table inet other {{ chain c {{ {chain} }}; }}'"),
    )
    .unwrap();
}

fn drops_no_more(lab: &Lab) {
    lab.shell("gw-1", "nft delete table inet other").unwrap();
    await_ready(lab);
}

fn lan(lab: &Lab, program: &[&str]) {
    lab.exec_ok(Exec::Lan, program).unwrap();
}

/// Agents that know a resolver of each family: their answers tell whether the gateway forwards.
fn cluster() -> TestLab {
    let (four, six) = world_address(RESOLVERS);
    let options = UpOptions {
        agent_arguments: vec![format!("--dns-upstreams={four}:53,[{six}]:53")],
        ..UpOptions::on_api_server(2, Programs::Postern)
    };
    TestLab::up(&options).unwrap()
}

#[test]
fn a_fault_on_the_way_of_an_exit_makes_exit_and_policy_not_ready_with_its_hop_until_it_is_over() {
    let lab = cluster();
    let sender = lab.selected_sender("n1").unwrap();
    await_ready(&lab);
    lab.await_report("n1", "answers of the resolvers", |report| {
        report["scopes"][0]["resolvers"] == "Answers"
    })
    .unwrap();

    // The only gateway loses its link.
    let cut = Instant::now();
    lan(&lab, &["ip", "link", "set", "gw-1", "down"]);
    await_soon(&lab, "ExitLost").unwrap();
    println!("told {:?} after the link went down", cut.elapsed());
    await_lost(&lab, "ExitLost", "n1");
    lan(&lab, &["ip", "link", "set", "gw-1", "up"]);
    await_ready(&lab);

    // A rule of somebody else in the gateway, before ours, for one family at a time.
    for (family, told) in [("ipv4", "IPv4 from n1"), ("ipv6", "IPv6 from n1")] {
        let hook = "type filter hook forward priority -300;";
        drops(
            &lab,
            &format!("{hook} iifname \"pst-s-*\" meta nfproto {family} drop;"),
        );
        await_lost(&lab, "NotForwarded", told);
        drops_no_more(&lab);
    }

    without_resolvers(&lab);
    without_uplinks(&lab);
    without_egress_addresses(&lab, &sender);
    // What the gateway asks resolvers by itself has no pod as its owner.
    let packets = lab.packets().unwrap();
    assert!(packets.leaks.is_empty(), "{:?}", packets.leaks);
    assert_eq!((packets.dropped, packets.agreed), (0, true));
}

/// The gateway drops every question to the resolvers, its own and those of its clients.
fn without_resolvers(lab: &Lab) {
    let (four, six) = world_address(RESOLVERS);
    let hook = "type filter hook postrouting priority -300;";
    let rules = format!("ip daddr {four} udp dport 53 drop; ip6 daddr {six} udp dport 53 drop;");
    drops(lab, &format!("{hook} {rules}"));
    await_lost(lab, "ResolverSilent", "IPv4 at gw-1");
    drops_no_more(lab);
}

/// The gateway loses the default route of one family, which the other one outlives, and then that of the other.
fn without_uplinks(lab: &Lab) {
    let routes = ["ip route show default", "ip -6 route show default"];
    let [four, six] = routes.map(|line| lab.shell("gw-1", line).unwrap().trim().to_owned());
    lab.shell("gw-1", &format!("ip route delete {four}"))
        .unwrap();
    let blocked = ("Ready", "True", "FamilyBlocked", "IPv4 is blocked");
    await_conditions(lab, &["exit", "eu"], &[blocked]);
    let told = ("Ready", "True", "Ready", "IPv4 is blocked");
    await_conditions(lab, &egp("crawler"), &[told]);
    lab.shell("gw-1", &format!("ip -6 route delete {six}"))
        .unwrap();
    await_lost(lab, "NoUplink", "at gw-1");
    for line in [
        format!("ip route add {four}"),
        format!("ip -6 route add {six}"),
    ] {
        lab.shell("gw-1", &line).unwrap();
    }
    await_ready(lab);
}

/// Another host has an egress IP: nothing leaves with another address, and the exit says which one is missing.
fn without_egress_addresses(lab: &Lab, sender: &Sender) {
    let addresses = ["192.168.10.77/24", "2001:db8:10::77/64 nodad"];
    let change = |verb: &str, address: &str| {
        let line = format!("ip address {verb} {address} dev eth0");
        lab.shell("n1", &line).unwrap();
    };
    change("add", addresses[0]);
    change("add", addresses[1]);
    let own = "egressIPs: [\"192.168.10.77\", \"2001:db8:10::77\"]";
    lab.apply_yaml(&exit("eu", "gw-1", own)).unwrap();
    await_lost(lab, "EgressIPMissing", "IPv4 at gw-1");
    let silent = lab.await_silence(sender).unwrap();
    lab.await_attempts(sender, silent).unwrap();
    assert_eq!(lab.pod_since(sender, silent).unwrap().arrived, 0);

    change("delete", "192.168.10.77/24");
    await_lost(lab, "EgressIPMissing", "IPv6 at gw-1");
    change("delete", "2001:db8:10::77/64");
    await_ready(lab);
    let back = Timestamp::now();
    // Flows that go on all the time too: their entries of connection tracking had the former source.
    sender.await_answers(&FLOWS, back, WAIT_DEADLINE).unwrap();
}
