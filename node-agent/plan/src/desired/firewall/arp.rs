//! Nobody on a link is told that the node has a tunnel address. In the arp family, because Linux answers on every
//! interface for any IPv4 address that it has, and the switches against that (`arp_ignore`) are of other programs'
//! interfaces. IPv6 needs no rule: the kernel answers a neighbour solicitation only for an address of the same link.

use std::collections::BTreeMap;

use postern_intent::Body;

use crate::host::Family;
use crate::ruleset::{Field, Hook, Rule, Table, Target};

use super::context::Chains;
use super::names::{ASKED, halved};
use super::sets::tunnel_addresses;

/// The whole ARP table. Our tunnel devices carry no ARP, so that no link is excepted.
pub(super) fn table(body: Option<&Body>) -> Table {
    let addresses = halved("tunaddr", Family::V4);
    let mut chains = Chains::default();
    // Questions only: an answer to the node's own question, which the kernel asks with the address of the packet that
    // waits, is what every other packet to the same neighbour waits for too.
    let silence = Rule::to(Target::Drop)
        .counted(ASKED)
        .when(Field::ArpDaddrIp.within(addresses.clone()))
        .when(Field::ArpOperation.is("request"));
    chains.filter("asked", Hook::Input, -300, vec![silence]);
    Table {
        counters: [ASKED].into(),
        sets: BTreeMap::from([(addresses, tunnel_addresses(body, Family::V4))]),
        chains: chains.0,
    }
}
