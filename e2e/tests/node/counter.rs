//! The counter is shown what it has to find before anybody believes it when it finds nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::lab::topology::{HOST4, HOST6};
use postern_e2e::lab::{Exec, PodOptions, PodRecord};
use postern_e2e::proof::harness::{FLOWS, TestLab, blank_body, wait_until};
use postern_e2e::proof::judge::Packets;
use postern_e2e::proof::monitor::SetKey;
use postern_intent::Body;
use postern_intent::Serial;
use postern_intent::body::{BlockedReason, Class, Pod, Terms};
use serde_json::json;

use crate::holes::{ask, lab_program, nobody, second_interface};

const DEADLINE: Duration = Duration::from_secs(20);

/// Pretends that a node blocks a pod: an intent is published and a report calls it verified.
fn pretend_to_block(lab: &TestLab, pod: &PodRecord) -> String {
    let mut body = blank_body(lab, &pod.node, Serial(1)).unwrap();
    body.guarded_namespaces = BTreeSet::from([pod.namespace.parse().unwrap()]);
    body.pods = vec![Pod {
        namespace: pod.namespace.parse().unwrap(),
        name: pod.name.parse().unwrap(),
        uid: pod.uid.parse().unwrap(),
        class: Class::Blocked {
            reason: BlockedReason::NoExit,
        },
        addresses: pod.addresses.iter().copied().collect(),
    }];
    pretend(lab, &body)
}

/// Publishes a body and pretends that its node's agent calls it verified; answers its digest.
fn pretend(lab: &TestLab, body: &Body) -> String {
    let digest = lab.publish(body).unwrap();
    let status = json!({
        "appliedDigest": digest, "appliedSerial": body.serial, "appliedClusterSerial": body.cluster_serial,
        "verifiedAt": Timestamp::now().to_string(),
    });
    let report = serde_json::to_vec(&json!({"status": status})).unwrap();
    lab.write_atomically(&lab.report(body.node.name.as_str()), &report)
        .unwrap();
    digest
}

/// Waits until the history of the lab names these bodies as applied: the judge knows no others.
fn await_recorded(lab: &TestLab, digests: &[String]) {
    let history = lab.dir().join("history/applied.jsonl");
    wait_until(DEADLINE, "the pretended bodies in the history", || {
        let text = std::fs::read_to_string(&history).unwrap_or_default();
        let recorded = digests.iter().all(|digest| text.contains(digest.as_str()));
        Ok(recorded.then_some(()))
    })
    .unwrap();
}

/// Pretends that a pod on its own gateway leaves by the exit `eu`, which has no address of its own.
fn pretend_to_masquerade(lab: &TestLab, pod: &PodRecord) -> String {
    let mut body = blank_body(lab, &pod.node, Serial(1)).unwrap();
    let digest = "5c09e00000000001";
    let own = json!({
        "nat": [{
            "exit": "eu", "interface": "pst-s-eu", "rank": 0, "egress": [], "egressTerm": "Intent", "routes": ["0.0.0.0/0", "::/0"], "lan": "Deny",
            "digest": digest,
        }],
        "firewall": [{
            "id": "shop/p@eu", "digest": digest, "failure": {"type": "Closed"}, "terms": Terms::nothing(),
            "policy": {"namespace": pod.namespace, "name": "p", "uid": pod.uid, "generation": 1},
            "way": {"type": "LocalExit"}, "exit": "eu",
        }],
        "pods": [{
            "namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "addresses": pod.addresses,
            "class": {"type": "Policy", "scope": "shop/p@eu"},
        }],
    });
    body.guarded_namespaces = BTreeSet::from([pod.namespace.parse().unwrap()]);
    let (intent, cluster) = body.documents();
    let mut all = serde_json::to_value(&intent).unwrap();
    for (name, value) in own.as_object().unwrap() {
        all[name] = value.clone();
    }
    let intent = serde_json::from_value(all).unwrap();
    pretend(lab, &Body::of(intent, cluster))
}

#[test]
fn the_monitor_reports_a_leak_of_every_protocol_and_family_and_both_counters_agree() {
    let lab = TestLab::bare().unwrap();
    let sender = lab.sender("shop/leaky", PodOptions::on("n1")).unwrap();
    let other = lab.sender("shop2/free", PodOptions::on("n1")).unwrap();
    sender
        .await_answers(&FLOWS, Timestamp::MIN, DEADLINE)
        .unwrap();
    let clean = lab.packets().unwrap();
    assert_eq!(
        (clean.leaked, clean.dropped, clean.agreed),
        (0, 0, true),
        "{clean:?}"
    );

    await_recorded(&lab, &[pretend_to_block(&lab, &sender.pod)]);
    let wanted: BTreeSet<(&str, bool)> = [
        ("icmp", true),
        ("icmpv6", false),
        ("tcp", true),
        ("tcp", false),
        ("udp", true),
        ("udp", false),
    ]
    .into();
    let packets = wait_until(DEADLINE, "a leak of every protocol and family", || {
        let packets = lab.packets()?;
        let seen: BTreeSet<(&str, bool)> = packets
            .leaks
            .iter()
            .map(|leak| (leak.protocol.as_str(), leak.source.is_ipv4()))
            .collect();
        Ok(seen.is_superset(&wanted).then_some(packets.clone()))
    });
    let packets = packets.unwrap();
    assert_eq!(
        (packets.dropped, packets.agreed),
        (0, true),
        "{:?}",
        packets.differences
    );
    let sum: u64 = packets.leaks.iter().map(|leak| leak.packets).sum();
    assert_eq!(packets.leaked, sum);
    assert!(
        packets
            .leaks
            .iter()
            .all(|leak| leak.pod == "shop/leaky" && leak.node == "n1"),
        "{:?}",
        packets.leaks
    );
    let counted = packets
        .pods
        .iter()
        .find(|pod| pod.uid == sender.pod.uid)
        .unwrap();
    assert!(
        counted.before > 0,
        "what left before the report is listed: {counted:?}"
    );
    let free = packets
        .pods
        .iter()
        .find(|pod| pod.uid == other.pod.uid)
        .unwrap();
    assert!(free.arrived > 0 && free.before == 0, "{free:?}");
}

#[test]
fn a_packet_that_only_one_counter_saw_makes_them_disagree() {
    let lab = TestLab::bare().unwrap();
    let key = "{ \"n1\" . 10.244.1.9 . 203.0.113.200 . udp counter packets 1 bytes 28 }";
    lab.namespace("lan")
        .nft(&format!("add element bridge lab sent4 {key}\n"))
        .unwrap();
    let packets = lab.packets().unwrap();
    assert!(!packets.agreed);
    let difference = &packets.differences[0];
    assert_eq!(
        (difference.counted, difference.captured_after),
        (1, 0),
        "{difference:?}"
    );
    let set = postern_e2e::proof::monitor::read_set(&lab).unwrap();
    assert!(
        set.keys()
            .any(|key: &SetKey| key.source.to_string() == "10.244.1.9")
    );
}

const LEAKY: Exec<'static> = Exec::Pod("shop/leaky");

/// Asks port 7 of an address.
fn probe(lab: &TestLab, who: Exec<'_>, to: IpAddr) {
    ask(lab, who, SocketAddr::new(to, 7), &["--protocol", "tcp"]).unwrap();
}

fn forge(lab: &TestLab, who: Exec<'_>, arguments: &str) {
    let program = lab_program();
    let words = [program.as_str(), "forge"].into_iter();
    let words: Vec<&str> = words.chain(arguments.split_whitespace()).collect();
    lab.exec_ok(who, &words).unwrap();
}

/// Whether something leaked of the pod by this port with this protocol.
fn leaks(packets: &Packets, node: &str, protocol: &str) -> bool {
    packets
        .leaks
        .iter()
        .any(|leak| (leak.node.as_str(), leak.protocol.as_str()) == (node, protocol))
}

fn nobodys(packets: &Packets, destination: IpAddr) -> bool {
    packets
        .unowned
        .iter()
        .any(|of| of.destination == destination && of.node == "n1")
}

/// One way past an exit: what it is called, how it is taken, and what the judge has to say of it.
type Way<'a> = (
    &'a str,
    Box<dyn Fn(&TestLab) + 'a>,
    Box<dyn Fn(&Packets) -> bool + 'a>,
);

#[test]
fn one_packet_past_the_exit_of_each_kind_is_seen() {
    let lab = TestLab::bare().unwrap();
    let pod = lab.pod_on("shop/leaky", &PodOptions::on("n1")).unwrap();
    let local = lab.pod_on("shop/local", &PodOptions::on("gw-1")).unwrap();
    let blocked = pretend_to_block(&lab, &pod);
    let masqueraded = pretend_to_masquerade(&lab, &local);
    await_recorded(&lab, &[blocked, masqueraded]);
    let [four, six] = [pod.addresses[0], pod.addresses[1]];
    let [world4, world6] = nobody(9);
    let group: IpAddr = "239.1.2.3".parse().unwrap();
    let ways: [Way<'_>; 8] = [
        (
            "a host of the LAN",
            Box::new(|lab| probe(lab, LEAKY, HOST4.into())),
            Box::new(|seen| nobodys(seen, HOST4.into())),
        ),
        (
            "a host of the LAN by IPv6",
            Box::new(|lab| probe(lab, LEAKY, HOST6.into())),
            Box::new(|seen| nobodys(seen, HOST6.into())),
        ),
        (
            "a foreign destination after SNAT",
            Box::new(|lab| probe(lab, LEAKY, world4)),
            Box::new(|seen| nobodys(seen, world4)),
        ),
        (
            "the same by IPv6",
            Box::new(|lab| probe(lab, LEAKY, world6)),
            Box::new(|seen| nobodys(seen, world6)),
        ),
        (
            "multicast with the pod's own source",
            Box::new(|lab| {
                let frame = format!(
                    "frame --device eth0 --to-mac 01:00:5e:01:02:03 --from {four}:5000 --to {group}:5000"
                );
                forge(lab, Exec::Node("n1"), &frame);
            }),
            Box::new(|seen| leaks(seen, "n1", "udp")),
        ),
        (
            "a neighbour solicitation for an address of the world",
            Box::new(|lab| {
                let to = pod.world[1];
                forge(
                    lab,
                    LEAKY,
                    &format!("solicit --from [{six}]:0 --to [{to}]:0"),
                );
            }),
            Box::new(|seen| leaks(seen, "n1", "icmpv6")),
        ),
        (
            "a second interface",
            Box::new(|lab| {
                second_interface(lab, &pod);
                probe(lab, LEAKY, pod.world[0]);
            }),
            Box::new(|seen| leaks(seen, "extra", "tcp")),
        ),
        (
            "a pod on its own masquerading gateway",
            Box::new(|lab| probe(lab, Exec::Pod("shop/local"), local.world[0])),
            Box::new(|seen| seen.of(&local.uid).indistinct > 0),
        ),
    ];
    let clean = lab.packets().unwrap();
    assert_eq!(clean.faults(), Vec::<String>::new());
    for (name, act, seen) in &ways {
        let before = lab.packets().unwrap();
        assert!(!seen(&before), "{name} before it happened: {before:?}");
        act(&lab);
        let after = lab.packets().unwrap();
        assert!(seen(&after), "{name}: {after:?}");
        assert_ne!(after.faults(), Vec::<String>::new(), "{name}");
        assert!(after.agreed, "{name}: {:?}", after.differences);
    }
}
