//! A bridge port speaks for its own pod only. In the bridge family, because in inet every pod of a bridge arrives on
//! the same interface.

use std::collections::{BTreeMap, BTreeSet};

use crate::binding::{Binding, Bindings};
use crate::host::{Family, MacAddress};
use crate::ruleset::rule::{apart, goto};
use crate::ruleset::{
    Atom, Chain, Element, FirewallRule, Hook, KeyType, Match, MatchField, Operand, Set, Table,
    Target,
};
use postern_intent::Address;

use super::context::Chains;
use super::names::{BIND, BIND_ARP, BIND_ND, BRIDGE_COUNTERS, halved};

/// The whole bridge table.
pub(super) fn table(bindings: &Bindings) -> Table {
    let mut chains = Chains::default();
    chains.filter("origin", Hook::Prerouting, -300, origin());
    chains.plain("bound", bound());
    let chains: BTreeMap<String, Chain> = chains.by_name;
    Table {
        counters: BRIDGE_COUNTERS.into_iter().collect(),
        rule_counters: BTreeSet::new(),
        sets: sets(bindings),
        chains,
    }
}

fn origin() -> Vec<FirewallRule> {
    let drop = |counter| FirewallRule::to(Target::Drop).counted(counter);
    let mut rules = vec![FirewallRule::to(goto("bound")).when(MatchField::Iif.within("ports"))];
    // Any other port, of a pod that is not bound yet: with no address of a bound pod, its MAC address before the others.
    rules.push(drop(BIND).when(MatchField::EtherSaddr.within("bound_mac")));
    for family in Family::BOTH {
        rules.push(drop(BIND).when(MatchField::Saddr(family).within(halved("bound", family))));
    }
    rules.push(drop(BIND_ARP).when(MatchField::ArpSaddrIp.within("bound4")));
    rules.push(
        drop(BIND_ND)
            .when(Match {
                fields: vec![MatchField::NeighbourTarget],
                operand: Operand::In("nd6".to_owned()),
            })
            .when(MatchField::Icmp6Type.is("nd-neighbor-advert")),
    );
    rules
}

fn bound() -> Vec<FirewallRule> {
    let drop = |counter| FirewallRule::to(Target::Drop).counted(counter);
    vec![
        // The bridge learns from every frame, ARP probes, DHCP and foreign ethertypes too: a neighbour's MAC address on
        // this port would draw the neighbour's frames here.
        drop(BIND).when(apart([MatchField::Iif, MatchField::EtherSaddr], "port_mac")),
        // A VLAN tag, priority tag 0 too, or PPPoE would hide the packet from the matches below.
        drop(BIND).when(MatchField::EtherType.is("{ 0x8100, 0x88a8, 0x8864 }")),
        drop(BIND)
            .when(apart(
                [
                    MatchField::Iif,
                    MatchField::EtherSaddr,
                    MatchField::Saddr(Family::V4),
                ],
                "bind4",
            ))
            .when(MatchField::Saddr(Family::V4).is_not("0.0.0.0")),
        drop(BIND)
            .when(apart(
                [
                    MatchField::Iif,
                    MatchField::EtherSaddr,
                    MatchField::Saddr(Family::V6),
                ],
                "bind6",
            ))
            .when(MatchField::Saddr(Family::V6).is_not("{ ::, fe80::/10 }")),
        drop(BIND_ARP)
            .when(apart(
                [
                    MatchField::Iif,
                    MatchField::ArpSaddrEther,
                    MatchField::ArpSaddrIp,
                ],
                "bind4",
            ))
            .when(MatchField::ArpSaddrIp.is_not("0.0.0.0")),
        drop(BIND_ND).when(MatchField::Icmp6Type.is("{ nd-router-advert, nd-redirect }")),
        // Link-local targets (the first ten bits are 1111111010) are the pod's own business.
        drop(BIND_ND)
            .when(apart(
                [
                    MatchField::Iif,
                    MatchField::EtherSaddr,
                    MatchField::NeighbourTarget,
                ],
                "bindnd6",
            ))
            .when(MatchField::NeighbourPrefix.is_not("0x3fa"))
            .when(MatchField::Icmp6Type.is("nd-neighbor-advert")),
    ]
}

fn sets(bindings: &Bindings) -> BTreeMap<String, Set> {
    let mut sets = BTreeMap::from([
        ("ports".to_owned(), Set::of([KeyType::IfName])),
        (
            "port_mac".to_owned(),
            Set::of([KeyType::IfName, KeyType::Ether]),
        ),
        ("bound_mac".to_owned(), Set::of([KeyType::Ether])),
        ("bound4".to_owned(), Set::of([KeyType::Ipv4])),
        ("bound6".to_owned(), Set::of([KeyType::Ipv6])),
        (
            "bind4".to_owned(),
            Set::of([KeyType::IfName, KeyType::Ether, KeyType::Ipv4]),
        ),
        (
            "bind6".to_owned(),
            Set::of([KeyType::IfName, KeyType::Ether, KeyType::Ipv6]),
        ),
        ("nd6".to_owned(), Set::of([KeyType::NeighbourTarget])),
        (
            "bindnd6".to_owned(),
            Set::of([KeyType::IfName, KeyType::Ether, KeyType::NeighbourTarget]),
        ),
    ]);
    for binding in bindings.by_container.values() {
        // Without a MAC address the link is no Ethernet link, and no bridge port.
        if let Some(mac) = binding.mac {
            for (set, element) in elements(binding, mac) {
                if let Some(set) = sets.get_mut(set) {
                    set.elements.insert(element);
                }
            }
        }
    }
    sets
}

fn elements(binding: &Binding, mac: MacAddress) -> Vec<(&'static str, Element)> {
    let port = || Atom::Name(binding.host_interface.to_string());
    let mut out = vec![
        ("ports", Element::key([port()])),
        ("port_mac", Element::key([port(), Atom::Mac(mac)])),
        ("bound_mac", Element::key([Atom::Mac(mac)])),
    ];
    for address in &binding.addresses {
        let own = Atom::Address(*address);
        match address {
            Address::V4(_) => {
                out.push(("bound4", Element::key([own.clone()])));
                out.push(("bind4", Element::key([port(), Atom::Mac(mac), own])));
            }
            Address::V6(v6) => {
                let number = Atom::Number(u128::from(*v6));
                out.push(("bound6", Element::key([own.clone()])));
                out.push(("bind6", Element::key([port(), Atom::Mac(mac), own])));
                out.push(("nd6", Element::key([number.clone()])));
                out.push(("bindnd6", Element::key([port(), Atom::Mac(mac), number])));
            }
        }
    }
    out
}
