//! Destinations that no policy reaches without an exception, as the schema judges exceptions and the agent refuses packets, and
//! private ones.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};

use crate::newtypes::Prefix;

/// Special-use destinations (RFC 6890 and cloud metadata services), IPv4.
pub const SPECIAL4: [&str; 7] = [
    "0.0.0.0/8",
    "100.100.100.200/32",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
];

/// The same for IPv6, without the destinations that embed an IPv4 address ([`EMBEDDINGS`]). Two prefixes whose embedded
/// addresses no prefix can name are refused whole: Teredo (RFC 4380), which inverts them, and the prefix for local NAT64
/// (RFC 8215), where their place depends on the network. So are those that no public host has: IPv4-compatible addresses, with the
/// loopback and the unspecified address among them, IPv4-mapped ones (RFC 4291, section 2.5.5) and IPv4-translated ones (RFC 2765).
pub const SPECIAL6: [&str; 8] = [
    "2001::/32",
    "64:ff9b:1::/48",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "fd00:ec2::254/128",
    "fe80::/10",
    "ff00::/8",
];

/// Prefixes in which an IPv4 address is embedded: NAT64 (RFC 6052) and 6to4 (RFC 3056). What embeds a special-use address
/// is special-use itself.
pub const EMBEDDINGS: [&str; 2] = ["64:ff9b::/96", "2002::/16"];

/// Private ranges (RFC 1918, RFC 6598).
pub const PRIVATE4: [&str; 4] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
];

/// Unique local addresses (RFC 4193).
pub const PRIVATE6: [&str; 1] = ["fc00::/7"];

/// [`EMBEDDINGS`], with the bit from which on they hold the address.
const EMBEDDED_AT: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// The IPv6 destinations that stand for these IPv4 ones where the exit's network translates or tunnels.
#[must_use]
pub fn embedding(four: &[Prefix]) -> Vec<Prefix> {
    let nets = four.iter().filter_map(|prefix| match prefix.net() {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    });
    let embedded = nets.flat_map(|net| {
        EMBEDDED_AT.into_iter().filter_map(move |(start, at)| {
            let address = u128::from(u32::from(net.network())) << (96 - at);
            let address = Ipv6Addr::from(u128::from(start) | address);
            let net = Ipv6Net::new(address, at + net.prefix_len()).ok()?;
            Some(Prefix::from(IpNet::V6(net)))
        })
    });
    embedded.collect()
}

/// Does the whole prefix lie in ranges of special use, or in what stands for them?
#[must_use]
pub fn is_special(prefix: &Prefix) -> bool {
    lies_in(prefix, &SPECIAL4, &SPECIAL6)
}

/// Does the whole prefix lie in private ranges, or in what stands for them?
#[must_use]
pub fn is_private(prefix: &Prefix) -> bool {
    lies_in(prefix, &PRIVATE4, &PRIVATE6)
}

fn lies_in(prefix: &Prefix, four: &[&str], six: &[&str]) -> bool {
    let four: Vec<Prefix> = four.iter().filter_map(|text| text.parse().ok()).collect();
    let six = six.iter().filter_map(|text| text.parse().ok());
    let embedded = embedding(&four);
    let mut ranges = four.iter().copied().chain(six).chain(embedded);
    ranges.any(|range: Prefix| range.net().contains(&prefix.net()))
}
