//! The node answers no ARP request for its tunnel addresses. Linux answers on every interface for any IPv4 address that it
//! has. The switch against that is `arp_ignore`, a setting of interfaces that are not ours, so that a rule of the arp family
//! does it. IPv6 needs no rule: the kernel answers a neighbour solicitation only for an address of the same link.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::Body;

use crate::host::Family;
use crate::ruleset::{FirewallRule, Hook, MatchField, Table, Target};

use super::context::Chains;
use super::names::{ASKED, halved};
use super::sets::tunnel_addresses;

/// The whole ARP table. Our tunnel devices carry no ARP, so that no link is excepted.
pub(super) fn table(body: Option<&Body>) -> Table {
    let addresses = halved("tunaddr", Family::V4);
    let mut chains = Chains::default();
    // Requests only. The kernel asks for a neighbour with the source address of the packet that waits: where that is a
    // tunnel address, the reply is for it too, and other packets wait for the same reply.
    let silence = FirewallRule::to(Target::Drop)
        .counted(ASKED)
        .when(MatchField::ArpDaddrIp.within(addresses.clone()))
        .when(MatchField::ArpOperation.is("request"));
    chains.filter("asked", Hook::Input, -300, vec![silence]);
    Table {
        counters: [ASKED].into(),
        rule_counters: BTreeSet::new(),
        sets: BTreeMap::from([(addresses, tunnel_addresses(body, Family::V4))]),
        chains: chains.by_name,
    }
}
