//! Limits of a policy: what counts, what is dropped, and whose set it is counted in.

use postern_intent::Address;
use postern_intent::body::{Access, Body, TermsLimits};
use postern_plan::Desired;
use postern_plan::desired::names::{limit_set, scope_chain, way_chain};
use postern_plan::evaluate::{Evaluator, Packet, PathEnd, Transport};
use postern_plan::host::Family;
use postern_plan::observed::{ObservedSet, ObservedTable};
use postern_plan::ruleset::{Atom, Counter, LimitMeasure, Transaction};

use crate::fixture::{OwnedInputs, client, gateway, scope_id, word};

const EACH: TermsLimits = TermsLimits {
    connections: Some(1000),
    new_connections_per_second: Some(100),
    packets_per_second: Some(20_000),
    bytes_per_second: Some(10 << 20),
};

fn limited(mut body: Body, limits: TermsLimits) -> Desired {
    let terms = &mut body.firewall[0].terms;
    terms.default_action = Access::Allow;
    terms.limits = limits;
    Desired::from_inputs(&OwnedInputs::of(Some(body)).inputs())
}

/// A packet of the selected pod.
fn packet(family: Family, to: &str) -> Packet {
    let source = match family {
        Family::V4 => "10.244.1.2",
        Family::V6 => "fd00:10:244:1::2",
    };
    let transport = Transport::Udp {
        sport: 40_000,
        dport: 443,
    };
    let mut packet = Packet::new(word(source), word(to), transport);
    packet.iif = "cni0".to_owned();
    packet.oif = "pst-c-eu".to_owned();
    packet
}

/// How a packet ends, and what counted it.
fn judged(desired: &Desired, packet: &Packet) -> (PathEnd, Vec<Counter>) {
    let mut evaluator = Evaluator::new(&desired.ruleset);
    for address in ["198.18.0.11", "fd64::11"].map(word::<Address>) {
        let key = ("pst-c-eu".to_owned(), Family::of(&address));
        evaluator.addresses.insert(key, address);
    }
    let passage = evaluator.forwarded(packet);
    (passage.end, passage.counters)
}

#[test]
fn a_packet_over_a_limit_is_dropped_and_counted_by_that_limit_alone() {
    let desired = limited(client(), EACH);
    for (family, to) in [(Family::V4, "203.0.113.7"), (Family::V6, "2001:db8:77::1")] {
        let first = packet(family, to);
        let mut later = first.clone();
        later.conntrack.confirmed = true;
        for packet in [&first, &later] {
            assert!(matches!(judged(&desired, packet).0, PathEnd::Left { .. }));
        }
        for (measure, counter, counts_later) in [
            (LimitMeasure::Connections, "over_connections", false),
            (LimitMeasure::NewConnections, "over_new_connections", false),
            (LimitMeasure::Packets, "over_packets", true),
            (LimitMeasure::Bytes, "over_bytes", true),
        ] {
            let over = |packet: &Packet| {
                let mut packet = packet.clone();
                packet.over.insert(measure);
                judged(&desired, &packet)
            };
            let dropped = (PathEnd::Dropped, vec![Counter(counter)]);
            assert_eq!(over(&first), dropped, "{family:?}");
            assert_eq!(
                over(&later) == dropped,
                counts_later,
                "{family:?} {measure:?}"
            );
        }
    }
}

#[test]
fn inside_traffic_replies_and_what_a_rule_denies_use_up_no_limit() {
    let mut body = client();
    body.firewall[0].terms.rules = vec![postern_intent::body::Rule {
        name: "no".to_owned(),
        action: Access::Deny,
        to: vec![word("198.51.100.0/24")],
        names: Vec::new(),
        ports: Vec::new(),
    }];
    let desired = limited(body, EACH);
    let over_each = |mut packet: Packet| {
        packet.over = LimitMeasure::EACH.into();
        judged(&desired, &packet)
    };
    let mut inside = packet(Family::V4, "10.244.9.9");
    inside.oif = "eth0".to_owned();
    assert!(matches!(over_each(inside).0, PathEnd::Left { .. }));
    let (end, counters) = over_each(packet(Family::V4, "198.51.100.9"));
    assert_eq!(
        (end, counters),
        (PathEnd::Rejected, vec![Counter("blocked")])
    );
    // No rule of the policy itself, and so no reply, comes to the limits but by the one way out.
    let chains = &desired.ruleset.inet.chains;
    let limits = |name: &str| {
        chains[name]
            .rules
            .iter()
            .any(|rule| rule.to_string().contains("@limit_"))
    };
    let with: Vec<&String> = chains.keys().filter(|name| limits(name)).collect();
    assert_eq!(with, [&way_chain(&scope_id())]);
    assert!(!limits(&scope_chain(&scope_id())));
}

#[test]
fn the_rules_of_each_limit_are_few_and_the_same_whatever_pods_there_are() {
    let desired = limited(client(), EACH);
    let way = &desired.ruleset.inet.chains[&way_chain(&scope_id())].rules;
    let texts: Vec<String> = way.iter().map(ToString::to_string).collect();
    let of_four: Vec<&String> = texts
        .iter()
        .filter(|text| text.contains("{ ip saddr"))
        .collect();
    assert_eq!(
        of_four,
        [
            "ct status ! confirmed add @limit_connections_1000_4 { ip saddr ct count over 1000 } counter name over_connections drop",
            "ct status ! confirmed update @limit_new_connections_100_4 { ip saddr timeout 1m counter limit rate over 100/second burst 100 packets } counter name over_new_connections drop",
            "update @limit_packets_20000_4 { ip saddr timeout 1m counter limit rate over 20000/second burst 20000 packets } counter name over_packets drop",
            "update @limit_bytes_10485760_4 { ip saddr timeout 1m counter limit rate over 10485760 bytes/second } counter name over_bytes drop",
        ]
    );
    assert_eq!(texts.len(), 1 + 8 + 1);
    assert_eq!(texts.last().unwrap(), "accept");

    let on_the_gateway = limited(gateway(&[]), EACH);
    let way = &on_the_gateway.ruleset.inet.chains[&way_chain(&scope_id())].rules;
    assert!(
        way.iter()
            .any(|rule| rule.to_string().contains("@limit_bytes"))
    );
    let without = limited(client(), TermsLimits::default());
    assert!(!without.ruleset.to_string().contains("limit_"));
}

/// A source whose element is written without its limit would have no limit at all.
#[test]
fn no_source_is_carried_over_when_the_tables_are_made_anew() {
    let desired = limited(client(), EACH);
    let set = limit_set(LimitMeasure::Packets, 20_000, Family::V4);
    let key = vec![Atom::Address(word("10.244.1.2"))];
    let there = ObservedSet {
        expires: [(key, 40)].into(),
        ..ObservedSet::default()
    };
    let observed = ObservedTable {
        sets: [(set, there)].into(),
        ..ObservedTable::default()
    };
    let batch = Transaction::replace(&desired.ruleset);
    assert!(Transaction::carry_grants(&observed, &batch).is_empty());
}
