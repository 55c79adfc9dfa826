//! The counter is shown what it has to find before anybody believes it when it finds nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use postern_e2e::lab::PodOptions;
use postern_e2e::proof::harness::{FLOWS, Sender, TestLab, blank_body, wait_until};
use postern_e2e::proof::monitor::SetKey;
use postern_intent::Serial;
use postern_intent::body::{BlockedReason, Class, Pod};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(20);

/// Pretends that a node blocks a pod: an intent is published and a report calls it verified.
fn pretend_to_block(lab: &TestLab, sender: &Sender) {
    let pod = &sender.pod;
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
    let digest = lab.publish(&body).unwrap();
    let status = json!({"appliedDigest": digest, "appliedSerial": 1, "verifiedAt": Timestamp::now().to_string()});
    let report = serde_json::to_vec(&json!({"status": status})).unwrap();
    lab.write_atomically(&lab.report(&pod.node), &report)
        .unwrap();
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

    pretend_to_block(&lab, &sender);
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
