//! Policies, exits and leases change under traffic: nothing of a selected pod leaves but by the exit in force.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_e2e::LabError;
use postern_e2e::lab::{Binaries, Exec, Lab, PodOptions, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{
    After, FLOWS, Sender, Series, TestLab, WAIT_DEADLINE, exit, policy, wait_until,
};

/// Seconds of a sender that began after this time and answered: which sources the world saw in them.
fn sources(sender: &Sender, after: Timestamp) -> BTreeSet<IpAddr> {
    let sums = sender.since(after + Duration::from_secs(1));
    sums.into_values().flat_map(|tally| tally.sources).collect()
}

fn addresses(lab: &Lab, node: &str) -> BTreeSet<IpAddr> {
    lab.node(node).unwrap().addresses().into()
}

/// Asks port 7 of an address from a pod, and returns the source that was seen.
fn probe(lab: &Lab, pod: &str, to: &str, protocol: &str) -> Result<String, LabError> {
    let program = Binaries::locate()?.lab().display().to_string();
    let args = [program.as_str(), "probe", to, "--protocol", protocol];
    Ok(lab.exec_ok(Exec::Pod(pod), &args)?.trim().to_owned())
}

/// A pod that answers on port 7 what it was asked from.
fn server(lab: &Lab, name: &str, node: &str) -> [String; 2] {
    let program = Binaries::locate().unwrap().lab();
    let dir = lab.dir().as_os_str();
    let command = [
        program.as_os_str(),
        "--dir".as_ref(),
        dir,
        "run".as_ref(),
        "world".as_ref(),
    ];
    let pod = lab.pod_on(name, &PodOptions::on(node).command(command));
    let pod = pod.unwrap();
    [
        format!("{}:7", pod.addresses[0]),
        format!("[{}]:7", pod.addresses[1]),
    ]
}

#[test]
fn nothing_leaks_when_a_policy_moves_to_another_exit_and_when_its_exit_goes() {
    let lab = TestLab::up(&UpOptions {
        gateways: 2,
        ..UpOptions::default()
    })
    .unwrap();
    lab.apply_yaml(&exit("us", "gw-2", "")).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    let mut series = Series::begin(&lab, "exits").unwrap();
    let act = |lab: &Lab| {
        lab.apply_yaml(&policy("us", ""))?;
        lab.await_state("n1", "us", "Enforcing", Timestamp::MIN)
            .map(drop)
    };
    let moved = "policy moved to another exit";
    series.prove(moved, &sender, After::Flows, act).unwrap();
    let after = Timestamp::now();
    sender.await_answers(&FLOWS, after, WAIT_DEADLINE).unwrap();
    assert_eq!(sources(&sender, after), addresses(&lab, "gw-2"));

    let us = exit("us", "gw-2", "");
    let act = |lab: &Lab| {
        lab.delete_yaml(&us)?;
        lab.await_report("n1", "a scope without an exit", |report| {
            report["scopes"][0]["reason"] == "NoExit"
        })?;
        let silent = lab.await_silence(&sender)?;
        lab.await_attempts(&sender, silent)?;
        lab.apply_yaml(&us)
    };
    let gone = "exit deleted";
    series.prove(gone, &sender, After::Flows, act).unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

#[test]
fn nothing_leaks_when_a_policy_gets_stricter_and_by_a_service_with_endpoints_in_the_world() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    let mut series = Series::begin(&lab, "policies").unwrap();
    let services = ["10.96.0.77", "fd00:10:96::77"].map(|a| a.parse::<IpAddr>().unwrap());
    for (service, world) in services.iter().zip(sender.pod.world) {
        let name = format!("world-{}", if service.is_ipv4() { 4 } else { 6 });
        let to = (world, 7);
        lab.create_service(&name, Some(*service), 7, to, TrafficPolicy::Cluster)
            .unwrap();
    }
    let gateway = lab.node("gw-1").unwrap().addresses();
    let act = |lab: &Lab| {
        for _ in 0..5 {
            for (to, seen) in ["10.96.0.77:7", "[fd00:10:96::77]:7"].iter().zip(gateway) {
                for protocol in ["tcp", "udp"] {
                    let answer = probe(lab, "crawlers/crawler", to, protocol)?;
                    assert_eq!(answer, seen.to_string(), "{to} {protocol}");
                }
            }
        }
        Ok(())
    };
    let service = "service with endpoints in the world";
    series.prove(service, &sender, After::Flows, act).unwrap();

    let stricter = "policy made stricter on established flows";
    let act = |lab: &Lab| {
        let before = Timestamp::now();
        let rules = "rules: [{action: Deny, to: [{cidr: 0.0.0.0/0}, {cidr: '::/0'}], ports: [{protocol: UDP}]}]";
        lab.apply_yaml(&policy("eu", rules))?;
        lab.await_report("n1", "the new generation", |report| {
            report["scopes"][0]["policy"]["generation"] == 2
        })?;
        lab.await_state("n1", "eu", "Enforcing", before).map(drop)
    };
    let others = After::Flows.of(&["icmp4", "icmp6", "tcp4", "tcp6"]);
    series.prove(stricter, &sender, others, act).unwrap();
    let after = Timestamp::now();
    lab.await_attempts(&sender, after).unwrap();
    let sums = sender.since(after + Duration::from_secs(1));
    for flow in ["udp4", "udp6"] {
        assert!(
            sums[flow].sent > 0 && sums[flow].received == 0,
            "{flow}: {sums:?}"
        );
    }
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

#[test]
fn nothing_leaks_when_nobody_renews_the_lease() {
    let lab = TestLab::up(&UpOptions {
        validity: SignedDuration::from_secs(12),
        refresh: SignedDuration::from_secs(4),
        ..UpOptions::default()
    })
    .unwrap();
    let servers = [
        server(&lab, "default/near", "n1"),
        server(&lab, "default/far", "n2"),
    ]
    .concat();
    let sender = lab.selected_sender("n1").unwrap();
    let inside = |lab: &Lab| {
        for to in &servers {
            for protocol in ["tcp", "udp"] {
                probe(lab, "crawlers/crawler", to, protocol)?;
            }
        }
        Ok(())
    };
    wait_until(WAIT_DEADLINE, "listening pods", || Ok(inside(&lab).ok())).unwrap();
    let mut series = Series::begin(&lab, "lease").unwrap();
    let act = |lab: &Lab| {
        lab.kill("agent-n1")?;
        let killed = Timestamp::now();
        sender.await_answers(&FLOWS, killed, WAIT_DEADLINE)?;
        let silent = lab.await_silence(&sender)?;
        lab.await_attempts(&sender, silent)?;
        inside(lab)?;
        lab.start_agent("n1")
    };
    let dead = "agent dead until the lease runs out";
    series.prove(dead, &sender, After::Flows, act).unwrap();
    let act = |lab: &Lab| {
        lab.kill_publishers()?;
        let silent = lab.await_silence(&sender)?;
        lab.await_attempts(&sender, silent)?;
        inside(lab)?;
        let said = |status: &serde_json::Value| status["appliedSerial"].as_u64();
        let before = lab.report_status("n1").as_ref().and_then(said);
        lab.start_publishers()?;
        // Operators that were killed hold their Lease for a while yet; the event is over when one publishes.
        lab.await_report("n1", "an intent published since", |status| {
            said(status) > before
        })
        .map(drop)
    };
    let away = "publisher away until the intents run out";
    series.prove(away, &sender, After::Flows, act).unwrap();
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}

#[test]
fn a_pod_on_its_own_active_gateway_leaves_by_the_exits_address_and_by_nothing_else() {
    let lab = TestLab::up(&UpOptions {
        nodes: 2,
        ..UpOptions::default()
    })
    .unwrap();
    let egress = ["192.168.10.200", "2001:db8:10::c8"];
    let pod = PodOptions::on("gw-1").label("app", "crawler");
    let sender = lab.sender("crawlers/crawler", pod).unwrap();
    let mut series = Series::begin(&lab, "local-exit").unwrap();
    let act = |lab: &Lab| {
        let addresses = format!("egressIPs: [{}]", egress.join(", "));
        lab.apply_yaml(&(exit("eu", "gw-1", &addresses) + &policy("eu", "")))?;
        lab.await_state("gw-1", "eu", "Enforcing", Timestamp::MIN)
            .map(drop)
    };
    let applied = "policy applied to a pod on its own active gateway";
    series.prove(applied, &sender, After::Flows, act).unwrap();
    let after = Timestamp::now();
    sender.await_answers(&FLOWS, after, WAIT_DEADLINE).unwrap();
    let egress: BTreeSet<IpAddr> = egress.map(|a| a.parse().unwrap()).into();
    assert_eq!(sources(&sender, after), egress);
    for (event, line) in [
        (
            "our tables deleted at the gateway",
            "nft 'delete table inet postern; delete table bridge postern'",
        ),
        (
            "the whole ruleset flushed at the gateway",
            "nft flush ruleset",
        ),
    ] {
        let act = |lab: &Lab| {
            let before = Timestamp::now();
            lab.shell("gw-1", line)?;
            lab.await_state("gw-1", "eu", "Enforcing", before).map(drop)
        };
        series.prove(event, &sender, After::Flows, act).unwrap();
    }
    assert_eq!(series.finish().unwrap(), Vec::<String>::new());
}
