//! Frames of a bridge port: what a bound pod may send by its own port, and what the bridge never gets to learn from.

use postern_plan::Desired;
use postern_plan::evaluate::{Evaluator, Fate, Frame, Packet, Payload, Transport};
use postern_plan::host::MacAddress;
use postern_plan::ruleset::{Counter, Ruleset};

use crate::fixture::{OwnedInputs, client, word};

const OWN: MacAddress = MacAddress([0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x02]);
/// The released pod `10.244.1.3` on another port of the same bridge.
const NEIGHBOURS: MacAddress = MacAddress([0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x03]);
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

fn ruleset() -> Ruleset {
    Desired::from_inputs(&OwnedInputs::of(Some(client())).inputs()).ruleset
}

fn udp(source: &str, sport: u16) -> Payload {
    let to = match source.contains(':') {
        true => "2001:db8:ffff::7",
        false => "203.0.113.7",
    };
    let transport = Transport::Udp { sport, dport: 7 };
    Payload::Ip(Box::new(Packet::new(word(source), word(to), transport)))
}

fn arp(mac: MacAddress, address: &str) -> Payload {
    Payload::Arp {
        operation: "reply",
        mac,
        address: word(address),
        target: word("10.244.1.1"),
    }
}

fn neighbour(kind: &'static str, source: &str, target: &str) -> Payload {
    Payload::Neighbour {
        source: word(source),
        kind,
        target: word(target),
    }
}

/// What a pod could send, with every MAC address: the types that carry IP and ARP, tags, and types of nobody.
fn payloads() -> Vec<(u16, Payload)> {
    vec![
        (IPV4, udp("10.244.1.2", 4000)),
        (IPV4, udp("10.244.1.3", 4000)),
        (IPV4, udp("0.0.0.0", 68)),
        (IPV4, udp("203.0.113.9", 4000)),
        (IPV6, udp("fd00:10:244:1::2", 4000)),
        (IPV6, udp("fd00:10:244:1::3", 4000)),
        (IPV6, udp("::", 4000)),
        (IPV6, udp("fe80::1", 4000)),
        (ARP, arp(OWN, "10.244.1.2")),
        (ARP, arp(OWN, "0.0.0.0")),
        (ARP, arp(NEIGHBOURS, "10.244.1.3")),
        (IPV6, neighbour("nd-neighbor-solicit", "::", "fe80::2")),
        (
            IPV6,
            neighbour("nd-neighbor-advert", "fe80::2", "fd00:10:244:1::3"),
        ),
        (0x8100, Payload::Opaque),
        (0x88a8, Payload::Opaque),
        (0x8864, Payload::Opaque),
        (0x88cc, Payload::Opaque),
        (0x88b5, Payload::Opaque),
    ]
}

fn frame(port: &str, source: MacAddress, ethertype: u16, payload: Payload) -> Frame {
    Frame {
        port: port.to_owned(),
        source,
        ethertype,
        payload,
    }
}

#[test]
fn no_frame_with_a_neighbours_mac_passes_the_port_of_a_bound_pod_whatever_it_carries() {
    let ruleset = ruleset();
    // The same without the rules of the bindings: each frame would reach the bridge, which learns from it.
    let mut open = ruleset.clone();
    if let Some(bound) = open.bridge.chains.get_mut("bound") {
        bound.rules.clear();
    }
    for (ethertype, payload) in payloads() {
        let mut forged = frame("veth1", NEIGHBOURS, ethertype, payload);
        let outcome = Evaluator::new(&ruleset).frame(&mut forged);
        assert_eq!(outcome.fate, Fate::Dropped, "{forged:?}");
        assert_eq!(outcome.counters, [Counter("bind")], "{forged:?}");
        let fate = Evaluator::new(&open).frame(&mut forged).fate;
        assert_eq!(fate, Fate::Passes, "without the rules: {forged:?}");
    }
}

#[test]
fn a_bound_pod_sends_with_its_own_addresses_and_claims_no_other_ones() {
    let ruleset = ruleset();
    for (ethertype, payload, fate) in [
        (IPV4, udp("10.244.1.2", 4000), Fate::Passes),
        (IPV4, udp("0.0.0.0", 68), Fate::Passes),
        (IPV4, udp("10.244.1.3", 4000), Fate::Dropped),
        (IPV4, udp("203.0.113.9", 4000), Fate::Dropped),
        (IPV6, udp("fd00:10:244:1::2", 4000), Fate::Passes),
        (IPV6, udp("fe80::1", 4000), Fate::Passes),
        (IPV6, udp("fd00:10:244:1::3", 4000), Fate::Dropped),
        (ARP, arp(OWN, "10.244.1.2"), Fate::Passes),
        (ARP, arp(OWN, "0.0.0.0"), Fate::Passes),
        (ARP, arp(OWN, "10.244.1.3"), Fate::Dropped),
        (ARP, arp(NEIGHBOURS, "10.244.1.2"), Fate::Dropped),
        (
            IPV6,
            neighbour("nd-neighbor-advert", "fd00:10:244:1::2", "fd00:10:244:1::2"),
            Fate::Passes,
        ),
        (
            IPV6,
            neighbour("nd-neighbor-advert", "fe80::2", "fe80::2"),
            Fate::Passes,
        ),
        (
            IPV6,
            neighbour("nd-neighbor-advert", "fe80::2", "fd00:10:244:1::3"),
            Fate::Dropped,
        ),
        (
            IPV6,
            neighbour("nd-router-advert", "fe80::2", "fe80::2"),
            Fate::Dropped,
        ),
        (0x8100, Payload::Opaque, Fate::Dropped),
        (0x88a8, Payload::Opaque, Fate::Dropped),
        (0x8864, Payload::Opaque, Fate::Dropped),
        (0x88b5, Payload::Opaque, Fate::Passes),
    ] {
        let mut sent = frame("veth1", OWN, ethertype, payload);
        let outcome = Evaluator::new(&ruleset).frame(&mut sent);
        assert_eq!(outcome.fate, fate, "{sent:?}");
    }
}

#[test]
fn another_port_claims_no_address_of_a_bound_pod() {
    let ruleset = ruleset();
    for (ethertype, payload) in payloads() {
        let mut forged = frame("veth2", OWN, ethertype, payload);
        let outcome = Evaluator::new(&ruleset).frame(&mut forged);
        assert_eq!(outcome.fate, Fate::Dropped, "{forged:?}");
    }
    for (ethertype, payload, fate) in [
        (IPV4, udp("10.244.1.3", 4000), Fate::Passes),
        (IPV4, udp("10.244.1.2", 4000), Fate::Dropped),
        (IPV6, udp("fd00:10:244:1::2", 4000), Fate::Dropped),
        (ARP, arp(NEIGHBOURS, "10.244.1.2"), Fate::Dropped),
        (ARP, arp(NEIGHBOURS, "10.244.1.3"), Fate::Passes),
        (
            IPV6,
            neighbour("nd-neighbor-advert", "fe80::2", "fd00:10:244:1::2"),
            Fate::Dropped,
        ),
    ] {
        let mut sent = frame("veth2", NEIGHBOURS, ethertype, payload);
        let outcome = Evaluator::new(&ruleset).frame(&mut sent);
        assert_eq!(outcome.fate, fate, "{sent:?}");
    }
}
