//! Egress IPs: Postern puts them on the gateway's uplink and moves them, and no two gateways ever have one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use postern_e2e::LabError;
use postern_e2e::lab::{Lab, Programs, UpOptions};
use postern_e2e::proof::harness::{FLOWS, Sender, TestLab, WAIT_DEADLINE, exit, wait_until};
use serde_json::Value;

use crate::plane::{condition, get};

const EGRESS: [&str; 2] = ["192.168.10.200", "2001:db8:10::c8"];

/// What a gateway that does not answer costs at most: it is noticed, its confirmation runs out with the margin, the next
/// gateway asks its neighbours, and the machine is busy.
const FENCED: Duration = Duration::from_secs(45);

/// Moves the egress IPs away from a gateway, and brings it back.
struct EgressMove {
    event: &'static str,
    lose: fn(&Lab, &str) -> Result<(), LabError>,
    restore: fn(&Lab, &str) -> Result<(), LabError>,
    longest: Duration,
}

const MOVES: [EgressMove; 3] = [
    EgressMove {
        event: "gateway cordoned",
        lose: |lab, gateway| lab.kubectl_ok(&["cordon", gateway]).map(drop),
        restore: |lab, gateway| lab.kubectl_ok(&["uncordon", gateway]).map(drop),
        longest: Duration::from_secs(10),
    },
    EgressMove {
        event: "gateway cut off",
        lose: Lab::cut_node,
        restore: Lab::join_node,
        longest: FENCED,
    },
    // Its tunnel process goes on and takes packets of clients; the kernel alone ends the addresses. Clients find out by what
    // they ask behind the gateway.
    EgressMove {
        event: "agent of the gateway hangs",
        lose: |lab, gateway| lab.signal(&format!("agent-{gateway}"), Signal::SIGSTOP),
        restore: |lab, gateway| lab.signal(&format!("agent-{gateway}"), Signal::SIGCONT),
        longest: FENCED,
    },
];

/// The egress IPs that a node has.
fn addresses(lab: &Lab, node: &str) -> BTreeSet<String> {
    let shown = lab.shell(node, "ip -br address show dev eth0").unwrap();
    let shown = shown.split_whitespace();
    let shown = shown.filter_map(|word| word.split('/').next());
    let shown = shown.filter(|address| EGRESS.contains(address));
    shown.map(str::to_owned).collect()
}

fn holder(lab: &Lab) -> Result<String, LabError> {
    let both = BTreeSet::from(EGRESS.map(str::to_owned));
    wait_until(WAIT_DEADLINE, "a gateway with both egress IPs", || {
        let mut gateways = ["gw-1", "gw-2"].into_iter();
        Ok(gateways.find(|gateway| addresses(lab, gateway) == both))
    })
    .map(str::to_owned)
}

/// Waits until every flow is answered, and what the world sees of it since then has an egress IP.
fn leaves_with_them(lab: &Lab, sender: &Sender) {
    let egress: BTreeSet<IpAddr> = EGRESS.map(|text| text.parse().unwrap()).into();
    wait_until(
        Duration::from_secs(90),
        "packets with both egress IPs",
        || {
            let since = Timestamp::now();
            sender.await_answers(&FLOWS, since, Duration::from_secs(90))?;
            let sums = sender.since(since + Duration::from_secs(1));
            let sources = sums.into_values().flat_map(|tally| tally.sources);
            Ok((sources.collect::<BTreeSet<IpAddr>>() == egress).then_some(()))
        },
    )
    .unwrap_or_else(|error| panic!("{error}: {:#}", get(lab, &["exit", "eu"]).unwrap()));
}

/// The last packet of the former gateway with an egress IP left before the first one of the next gateway.
fn one_after_the_other(lab: &Lab, since: Timestamp, former: &str, next: &str) {
    let packets = lab.packets_since(since).unwrap();
    for address in EGRESS {
        let of = |node: &str| {
            let mut sources = packets.sources.iter();
            sources.find(|source| source.node == node && source.address.to_string() == address)
        };
        let (before, after) = (of(former).unwrap(), of(next).unwrap());
        assert!(before.last < after.first, "{before:?} {after:?}");
    }
}

#[test]
fn egress_ips_are_put_on_the_gateway_and_move_with_it_and_are_never_on_two() {
    let lab = TestLab::up(&UpOptions {
        gateways: 2,
        ..UpOptions::on_api_server(3, Programs::Postern)
    })
    .unwrap();
    let label = [
        "label",
        "--overwrite",
        "node",
        "gw-2",
        "postern.dev/exit=gw-1",
    ];
    lab.kubectl_ok(&label).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    let own = format!("egressIPs: [{}]", EGRESS.join(", "));
    let probed = exit("eu", "gw-1", &own).replace(
        "spec:\n",
        "spec:\n  probe: {targets: [{tcp: \"203.0.112.1:80\"}, {tcp: \"[2001:db8:aaaa::1]:80\"}]}\n",
    );
    lab.apply_yaml(&probed).unwrap();
    leaves_with_them(&lab, &sender);
    for one in &MOVES {
        let former = holder(&lab).unwrap();
        // A gateway has to have the addresses for a while before the word of clients takes them away.
        let settled = Timestamp::now() + Duration::from_secs(16);
        if one.longest == FENCED {
            wait_until(FENCED, "the gateway's time to settle", || {
                Ok((Timestamp::now() > settled).then_some(()))
            })
            .unwrap();
        }
        let begun = Timestamp::now();
        (one.lose)(&lab, &former).unwrap();
        let next = wait_until(Duration::from_secs(90), one.event, || {
            let mut gateways = ["gw-1", "gw-2"].into_iter();
            Ok(gateways.find(|gateway| *gateway != former && addresses(&lab, gateway).len() == 2))
        })
        .unwrap_or_else(|error| panic!("{error}: {:#}", get(&lab, &["exit", "eu"]).unwrap()));
        assert_eq!(addresses(&lab, &former), BTreeSet::new(), "{}", one.event);
        leaves_with_them(&lab, &sender);
        println!(
            "{}: {former} to {next}: {:?}",
            one.event,
            sender.longest_silences(begun)
        );
        assert_eq!(sender.silent_longer_than(one.longest, begun), Vec::new());
        one_after_the_other(&lab, begun, &former, next);
        (one.restore)(&lab, &former).unwrap();
        let back = Timestamp::now();
        lab.await_report(&former, "a report since it is back", |report| {
            let at = report["verifiedAt"].as_str().unwrap_or_default();
            at.parse::<Timestamp>().is_ok_and(|at| at > back)
        })
        .unwrap();
        assert_eq!(addresses(&lab, &former), BTreeSet::new(), "{}", one.event);
    }
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}

#[test]
fn an_egress_ip_that_another_host_has_is_not_taken_and_the_exit_says_who_has_it() {
    let lab = TestLab::up(&UpOptions::on_api_server(2, Programs::Postern)).unwrap();
    let sender = lab.selected_sender("n1").unwrap();
    // Another host of the LAN, which is a node of ours by chance.
    let [four, six] = EGRESS;
    lab.shell(
        "n1",
        &format!("ip address add {four}/24 dev eth0; ip address add {six}/64 dev eth0 nodad preferred_lft 0"),
    )
    .unwrap();
    let own = format!("egressIPs: [{}]", EGRESS.join(", "));
    lab.apply_yaml(&exit("eu", "gw-1", &own)).unwrap();
    let ready = |status: &str, words: &str| {
        let mut last = Value::Null;
        let waited = wait_until(WAIT_DEADLINE, "the exit's condition", || {
            last = get(&lab, &["exit", "eu"])?;
            let found = condition(&last, "Ready").is_some_and(|ready| {
                let message = ready["message"].as_str().unwrap_or_default();
                ready["status"] == status && message.contains(words)
            });
            Ok(found.then_some(()))
        });
        assert!(waited.is_ok(), "{status} {words}: {last:#}");
    };
    ready(
        "False",
        "another host answers for the egress IP 192.168.10.200: ",
    );
    assert_eq!(addresses(&lab, "gw-1"), BTreeSet::new());
    let silent = lab.await_silence(&sender).unwrap();
    lab.await_attempts(&sender, silent).unwrap();
    assert_eq!(lab.pod_since(&sender, silent).unwrap().arrived, 0);
    lab.shell(
        "n1",
        &format!("ip address delete {four}/24 dev eth0; ip address delete {six}/64 dev eth0"),
    )
    .unwrap();
    ready("True", "from 192.168.10.200 and 2001:db8:10::c8");
    leaves_with_them(&lab, &sender);
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
    // An exit that is gone takes its addresses with it.
    lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
    wait_until(WAIT_DEADLINE, "a gateway without egress IPs", || {
        Ok(addresses(&lab, "gw-1").is_empty().then_some(()))
    })
    .unwrap();
}
