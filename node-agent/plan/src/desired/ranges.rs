//! Special-use and private ranges, and sums over ranges.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};
use postern_intent::Prefix;
use postern_intent::special_use::{SPECIAL4, SPECIAL6};

use crate::host::Family;

/// Is the address one of the world's: neither of special use nor private?
#[must_use]
pub fn is_public(address: &postern_intent::Address) -> bool {
    let family = Family::of(address);
    let mut ranges = special_ranges(family).into_iter().chain(lan_ranges(family));
    !ranges.any(|range| range.contains(address))
}

/// The prefixes of one family.
pub(super) fn of_family(prefixes: &[Prefix], family: Family) -> Vec<Prefix> {
    prefixes
        .iter()
        .copied()
        .filter(|prefix| Family::of_prefix(prefix) == family)
        .collect()
}

/// Disjoint prefixes: an interval set refuses overlapping ones (`Error: conflicting intervals specified`).
pub(super) fn aggregate(prefixes: &[Prefix]) -> Vec<Prefix> {
    let nets: Vec<IpNet> = prefixes.iter().map(Prefix::net).collect();
    IpNet::aggregate(&nets)
        .into_iter()
        .map(Prefix::from)
        .collect()
}

/// Prefixes that hold an IPv4 address from this bit on: NAT64 (RFC 6052) and 6to4 (RFC 3056).
const EMBEDDINGS: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];
/// Private ranges (RFC 1918, RFC 6598).
pub(super) const PRIVATE4: [&str; 4] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
/// Unique local addresses (RFC 4193).
pub(super) const PRIVATE6: [&str; 1] = ["fc00::/7"];

/// The private ranges of a family.
pub(super) fn private_ranges(family: Family) -> Vec<Prefix> {
    match family {
        Family::V4 => prefixes(&PRIVATE4),
        Family::V6 => prefixes(&PRIVATE6),
    }
}

/// The IPv6 destinations that stand for these IPv4 ones where the exit's network translates or tunnels.
pub(super) fn embedding(four: &[Prefix]) -> Vec<Prefix> {
    let nets = four.iter().filter_map(|prefix| match prefix.net() {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    });
    let embedded = nets.flat_map(|net| {
        EMBEDDINGS.into_iter().filter_map(move |(start, at)| {
            let address = u128::from(u32::from(net.network())) << (96 - at);
            let address = Ipv6Addr::from(u128::from(start) | address);
            let net = Ipv6Net::new(address, at + net.prefix_len()).ok()?;
            Some(Prefix::from(IpNet::V6(net)))
        })
    });
    embedded.collect()
}

/// The special-use ranges of a family.
pub(super) fn special_ranges(family: Family) -> Vec<Prefix> {
    match family {
        Family::V4 => prefixes(&SPECIAL4),
        Family::V6 => [prefixes(&SPECIAL6), embedding(&prefixes(&SPECIAL4))].concat(),
    }
}

/// The private ranges of a family as destinations of an exit.
pub(super) fn lan_ranges(family: Family) -> Vec<Prefix> {
    match family {
        Family::V4 => prefixes(&PRIVATE4),
        Family::V6 => [prefixes(&PRIVATE6), embedding(&prefixes(&PRIVATE4))].concat(),
    }
}

/// Parses a list of the constants above; a test proves that all of them parse.
pub(super) fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_prefix_parses() {
        for list in [&SPECIAL4[..], &SPECIAL6, &PRIVATE4, &PRIVATE6] {
            assert_eq!(prefixes(list).len(), list.len(), "{list:?}");
        }
    }
}
