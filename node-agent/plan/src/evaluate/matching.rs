//! Does a rule's match hold for a packet or a frame?

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::Address;

use super::packet::{CtDirection, CtState, Frame, Packet, Payload, Transport};
use crate::desired::LEASE;
use crate::host::{Family, MacAddress};
use crate::ruleset::literal::{Literal, Value};
use crate::ruleset::{Atom, Element, Match, MatchField, Operand, Set, SetFlag, Table};

/// What a field of a packet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldValue<'a> {
    Address(Address),
    Mac(MacAddress),
    Name(&'a str),
    Number(u64),
    /// A number that nft also knows by a word: a protocol.
    Protocol(u8),
    Family(Family),
    Word(&'static str),
    /// 128 bits.
    Wide(u128),
    /// The packet's own connection.
    Connection,
}

/// The packet that the ruleset judges.
#[derive(Debug, Clone, Copy)]
pub(super) enum MatchSubject<'a> {
    Packet(&'a Packet),
    Frame(&'a Frame),
}

/// Families whose lease the kernel holds: the elements of the set `lease`, which go by themselves.
pub type Leases = BTreeSet<Family>;

/// Addresses that the kernel holds in sets whose elements go by themselves, by the name of the set.
pub type Grants = BTreeMap<String, BTreeSet<Address>>;

/// Names of the sets in which the kernel holds the connection of the packet that is judged.
pub type KeptFlows = BTreeSet<String>;

/// What the kernel holds in sets whose elements no plan names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiring<'a> {
    pub(super) leases: &'a Leases,
    pub(super) grants: &'a Grants,
    pub(super) kept: &'a KeptFlows,
}

impl Expiring<'_> {
    fn has(&self, set: &str, values: &[FieldValue<'_>]) -> bool {
        match values {
            [FieldValue::Family(family)] => set == LEASE && self.leases.contains(family),
            [FieldValue::Address(address)] => {
                let granted = self.grants.get(set);
                granted.is_some_and(|granted| granted.contains(address))
            }
            [FieldValue::Connection] => self.kept.contains(set),
            _ => false,
        }
    }
}

/// All matches of a rule hold.
pub(super) fn holds(
    table: &Table,
    expiring: Expiring<'_>,
    matches: &[Match],
    of: MatchSubject<'_>,
) -> bool {
    matches
        .iter()
        .all(|one| match_holds(table, expiring, one, of))
}

fn match_holds(table: &Table, expiring: Expiring<'_>, one: &Match, of: MatchSubject<'_>) -> bool {
    if let ([field], Operand::Alone) = (one.fields.as_slice(), &one.operand) {
        return match of {
            MatchSubject::Packet(packet) => stands_alone(field, packet),
            MatchSubject::Frame(_) => false,
        };
    }
    let values: Option<Vec<FieldValue<'_>>> =
        one.fields.iter().map(|field| value(field, of)).collect();
    let Some(values) = values else {
        return false;
    };
    let within = |name: &String| {
        let set = table.sets.get(name);
        set.is_some_and(|set| match set.set_type.changes_by_itself() {
            true => expiring.has(name, &values),
            false => find(set, &values).is_some(),
        })
    };
    match &one.operand {
        Operand::In(set) => within(set),
        Operand::NotIn(set) => !within(set),
        Operand::Is(literal) => is_any(literal, &values),
        Operand::Not(literal) => !is_any(literal, &values),
        Operand::Alone => false,
    }
}

/// A field that has no operand.
fn stands_alone(field: &MatchField, packet: &Packet) -> bool {
    match field {
        MatchField::TcpSyn => matches!(packet.transport, Transport::Tcp { syn: true, .. }),
        MatchField::Unconfirmed => packet.is_tracked() && !packet.conntrack.confirmed,
        // Each changes how long a connection is remembered, and no verdict.
        MatchField::Lasting | MatchField::Ending => packet.is_tracked(),
        // A set has room for every connection.
        MatchField::Forgotten(_) => false,
        // It changes what is recorded, and no verdict.
        MatchField::OverRecords => false,
        MatchField::Over(limit) => {
            packet.family() == limit.family && packet.over.contains(&limit.measure)
        }
        _ => false,
    }
}

fn value<'a>(field: &MatchField, of: MatchSubject<'a>) -> Option<FieldValue<'a>> {
    match of {
        MatchSubject::Packet(packet) => packet_value(field, packet),
        MatchSubject::Frame(frame) => frame_value(field, frame),
    }
}

fn packet_value<'a>(field: &MatchField, packet: &'a Packet) -> Option<FieldValue<'a>> {
    let address = |family: Family, address: Address| {
        (packet.family() == family).then_some(FieldValue::Address(address))
    };
    let tracked = || packet.is_tracked().then_some(&packet.conntrack);
    match field {
        MatchField::Iif => Some(FieldValue::Name(&packet.iif)),
        MatchField::Oif => Some(FieldValue::Name(&packet.oif)),
        MatchField::Saddr(family) => address(*family, packet.source),
        MatchField::Daddr(family) => address(*family, packet.destination),
        MatchField::L4Proto => Some(FieldValue::Protocol(packet.protocol())),
        MatchField::Dport => packet.dport().map(number),
        MatchField::NfProto => Some(FieldValue::Family(packet.family())),
        MatchField::Mark(mask) => Some(FieldValue::Number(u64::from(packet.mark & mask))),
        MatchField::CtState => Some(FieldValue::Word(match packet.conntrack.state {
            CtState::New => "new",
            CtState::Established => "established",
            CtState::Related => "related",
            CtState::Invalid => "invalid",
            CtState::Untracked => "untracked",
        })),
        MatchField::CtDirection => tracked().map(|conntrack| {
            FieldValue::Word(match conntrack.direction {
                CtDirection::Original => "original",
                CtDirection::Reply => "reply",
            })
        }),
        MatchField::CtStatus => {
            tracked().map(|conntrack| FieldValue::Word(if conntrack.dnat { "dnat" } else { "" }))
        }
        MatchField::CtOriginalSaddr(family) => {
            tracked().and_then(|conntrack| address(*family, conntrack.original_source))
        }
        MatchField::CtOriginalDaddr(family) => {
            tracked().and_then(|conntrack| address(*family, conntrack.original_destination))
        }
        MatchField::CtId => tracked().map(|_| FieldValue::Connection),
        MatchField::HopLimit => {
            (packet.family() == Family::V6).then(|| FieldValue::Number(packet.hop_limit.into()))
        }
        MatchField::FibSaddrType => Some(FieldValue::Word(if packet.source_is_local {
            "local"
        } else {
            "unicast"
        })),
        MatchField::UdpDport
        | MatchField::TcpDport
        | MatchField::SctpDport
        | MatchField::UdpSport
        | MatchField::Icmp6Type => transport_value(field, packet),
        MatchField::EtherSaddr
        | MatchField::EtherType
        | MatchField::ArpOperation
        | MatchField::ArpSaddrEther
        | MatchField::ArpSaddrIp
        | MatchField::ArpDaddrIp
        | MatchField::NeighbourTarget
        | MatchField::NeighbourPrefix
        | MatchField::TcpSyn
        | MatchField::Unconfirmed
        | MatchField::Lasting
        | MatchField::Ending
        | MatchField::Forgotten(_)
        | MatchField::Over(_)
        | MatchField::OverRecords => None,
    }
}

fn transport_value<'a>(field: &MatchField, packet: &Packet) -> Option<FieldValue<'a>> {
    match (field, packet.transport) {
        (MatchField::UdpDport, Transport::Udp { dport, .. })
        | (MatchField::TcpDport, Transport::Tcp { dport, .. })
        | (MatchField::SctpDport, Transport::Sctp { dport }) => Some(number(dport)),
        (MatchField::UdpSport, Transport::Udp { sport, .. }) => Some(number(sport)),
        (MatchField::Icmp6Type, Transport::Icmp(kind)) if packet.family() == Family::V6 => {
            Some(FieldValue::Word(kind))
        }
        _ => None,
    }
}

const fn number(port: u16) -> FieldValue<'static> {
    FieldValue::Number(port as u64)
}

fn frame_value<'a>(field: &MatchField, frame: &'a Frame) -> Option<FieldValue<'a>> {
    match (field, &frame.payload) {
        (MatchField::Iif, _) => Some(FieldValue::Name(&frame.port)),
        (MatchField::EtherSaddr, _) => Some(FieldValue::Mac(frame.source)),
        (MatchField::EtherType, _) => Some(FieldValue::Number(frame.ethertype.into())),
        (MatchField::ArpOperation, Payload::Arp { operation, .. }) => {
            Some(FieldValue::Word(operation))
        }
        (MatchField::ArpSaddrEther, Payload::Arp { mac, .. }) => Some(FieldValue::Mac(*mac)),
        (MatchField::ArpSaddrIp, Payload::Arp { address, .. }) => {
            Some(FieldValue::Address(*address))
        }
        (MatchField::ArpDaddrIp, Payload::Arp { target, .. }) => Some(FieldValue::Address(*target)),
        (MatchField::Saddr(Family::V6), Payload::Neighbour { source, .. }) => {
            Some(FieldValue::Address(*source))
        }
        (MatchField::Icmp6Type, Payload::Neighbour { kind, .. }) => Some(FieldValue::Word(kind)),
        (MatchField::NeighbourTarget, Payload::Neighbour { target, .. }) => {
            Some(FieldValue::Wide(bits(*target)?))
        }
        (MatchField::NeighbourPrefix, Payload::Neighbour { target, .. }) => {
            let first_ten = bits(*target)? >> 118;
            u64::try_from(first_ten).ok().map(FieldValue::Number)
        }
        (field, Payload::Ip(packet)) => packet_value(field, packet),
        _ => None,
    }
}

fn bits(address: Address) -> Option<u128> {
    match address {
        Address::V6(address) => Some(address.into()),
        Address::V4(_) => None,
    }
}

fn is_any(literal: &Literal, values: &[FieldValue<'_>]) -> bool {
    let [value] = values else {
        return false;
    };
    literal.values().iter().any(|one| is(one, value))
}

fn is(literal: &Value, value: &FieldValue<'_>) -> bool {
    match (literal, value) {
        (Value::Address(wanted), FieldValue::Address(address)) => wanted == address,
        (Value::Prefix(prefix), FieldValue::Address(address)) => prefix.contains(address),
        (Value::Ports(span), FieldValue::Number(number)) => {
            (u64::from(span.from)..=u64::from(span.to)).contains(number)
        }
        (Value::Number(wanted) | Value::Hex(wanted), FieldValue::Number(number)) => {
            wanted == number
        }
        (Value::Number(wanted), FieldValue::Protocol(number)) => *wanted == u64::from(*number),
        (Value::Word(word), FieldValue::Protocol(number)) => protocol(word) == Some(*number),
        (Value::Word(word), FieldValue::Word(found)) => word == found,
        (Value::Word(word), FieldValue::Family(family)) => {
            *word == Literal::from(*family).to_string()
        }
        (Value::Name(pattern), FieldValue::Name(name)) => name_matches(pattern, name),
        _ => false,
    }
}

/// Protocols by the names that nft has for them.
fn protocol(word: &str) -> Option<u8> {
    match word {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "ipv6-icmp" => Some(58),
        "sctp" => Some(132),
        _ => None,
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// The element of a set that a key falls into. O(log n), and O(n) in a set of intervals, which are small.
pub(super) fn find<'a>(set: &'a Set, key: &[FieldValue<'_>]) -> Option<&'a Element> {
    if set.set_type.flag == Some(SetFlag::Interval) {
        return set.elements.iter().find(|element| {
            element.key.len() == key.len()
                && element
                    .key
                    .iter()
                    .zip(key)
                    .all(|(atom, value)| atom_is(atom, value))
        });
    }
    let atoms: Vec<Atom> = key.iter().map(atom).collect::<Option<_>>()?;
    let first = set.elements.range(Element::key(atoms.clone())..).next()?;
    (first.key == atoms).then_some(first)
}

fn atom(value: &FieldValue<'_>) -> Option<Atom> {
    match value {
        FieldValue::Address(address) => Some(Atom::Address(*address)),
        FieldValue::Mac(mac) => Some(Atom::Mac(*mac)),
        FieldValue::Name(name) => Some(Atom::Name((*name).to_owned())),
        FieldValue::Number(number) => u16::try_from(*number).ok().map(Atom::Port),
        FieldValue::Protocol(number) => {
            let names = ["icmp", "tcp", "udp", "ipv6-icmp", "sctp"];
            let name = names
                .into_iter()
                .find(|name| protocol(name) == Some(*number));
            name.map(|name| Atom::Protocol(name.to_owned()))
        }
        FieldValue::Family(family) => Some(Atom::Family(*family)),
        FieldValue::Wide(number) => Some(Atom::Number(*number)),
        FieldValue::Word(_) | FieldValue::Connection => None,
    }
}

fn atom_is(atom: &Atom, value: &FieldValue<'_>) -> bool {
    match (atom, value) {
        (Atom::Address(wanted), FieldValue::Address(address)) => wanted == address,
        (Atom::Prefix(prefix), FieldValue::Address(address)) => prefix.contains(address),
        (Atom::Range(from, to), FieldValue::Address(address)) => (from..=to).contains(&address),
        (Atom::Name(pattern), FieldValue::Name(name)) => name_matches(pattern, name),
        (Atom::Port(wanted), FieldValue::Number(number)) => u64::from(*wanted) == *number,
        _ => false,
    }
}
