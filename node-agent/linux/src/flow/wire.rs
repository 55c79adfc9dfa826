//! Conntrack entries as bytes, by `include/uapi/linux/netfilter/nfnetlink_conntrack.h`. Ports, zones and ids are in
//! network byte order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use postern_intent::Address;
use postern_plan::flow::FlowEntry;
use postern_plan::host::Family;

use crate::netlink::{attribute, attributes, nest, put};

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_GET`.
pub(super) const GET: u16 = (1 << 8) | 1;
/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_DELETE`.
pub(super) const DELETE: u16 = (1 << 8) | 2;

/// `struct nfgenmsg`.
const HEADER: usize = 4;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_FILTER_FLAG(CTA_IP_SRC)` of `net/netfilter/nf_internals.h`.
const FILTER_BY_SOURCE: u32 = 1;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_V4_SOURCE: u16 = 1;
const IP_V4_DESTINATION: u16 = 2;
const IP_V6_SOURCE: u16 = 3;
const IP_V6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;

/// `struct nfgenmsg` of a family.
pub(super) fn header(family: Family) -> Vec<u8> {
    let number = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    vec![number, 0, 0, 0]
}

/// Asks for the entry whose replies go from `source` to `destination`.
pub(super) fn by_reply(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    by_tuple(TUPLE_REPLY, protocol, source, destination)
}

/// Asks for the entry whose first packet went from `source` to `destination`.
pub(super) fn by_original(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    by_tuple(TUPLE_ORIGINAL, protocol, source, destination)
}

fn by_tuple(kind: u16, protocol: u8, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut out = header(Family::of(&source.ip()));
    nest(&mut out, kind, |tuple| {
        nest(tuple, TUPLE_IP, |ip| {
            put_address(ip, [IP_V4_SOURCE, IP_V6_SOURCE], source.ip());
            put_address(ip, [IP_V4_DESTINATION, IP_V6_DESTINATION], destination.ip());
        });
        nest(tuple, TUPLE_PROTOCOL, |inner| {
            put(inner, PROTOCOL_NUMBER, &[protocol]);
            put(inner, PROTOCOL_SOURCE_PORT, &source.port().to_be_bytes());
            put(
                inner,
                PROTOCOL_DESTINATION_PORT,
                &destination.port().to_be_bytes(),
            );
        });
    });
    out
}

fn put_address(out: &mut Vec<u8>, [v4, v6]: [u16; 2], address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(out, v4, &address.octets()),
        IpAddr::V6(address) => put(out, v6, &address.octets()),
    }
}

/// Asks for the deletion of an entry that was listed: its tuple as it stood there, and its id, so that a younger entry
/// with the same tuple stays.
pub(super) fn deletion(family: Family, entry: &[u8]) -> Vec<u8> {
    let mut out = header(family);
    for (kind, value) in attributes(entry.get(HEADER..).unwrap_or_default()) {
        match kind {
            TUPLE_ORIGINAL => nest(&mut out, kind, |tuple| tuple.extend(value)),
            ID | ZONE => put(&mut out, kind, value),
            _ => {}
        }
    }
    out
}

/// Asks for the entries that an address opened, and for those that it answers (Linux 5.8). An older kernel does not know
/// the filter and lists the family.
pub(super) fn ends(family: Family, address: Address) -> [Vec<u8>; 2] {
    let sides = [
        (TUPLE_ORIGINAL, FILTER_ORIGINAL),
        (TUPLE_REPLY, FILTER_REPLY),
    ];
    sides.map(|(tuple, flags)| {
        let mut out = header(family);
        nest(&mut out, tuple, |inner| {
            nest(inner, TUPLE_IP, |ip| {
                put_address(ip, [IP_V4_SOURCE, IP_V6_SOURCE], address);
            });
        });
        nest(&mut out, FILTER, |filter| {
            put(filter, flags, &FILTER_BY_SOURCE.to_ne_bytes());
        });
        out
    })
}

/// The entry as a value; none where it is cut short.
pub(super) fn flow(entry: &[u8]) -> Option<FlowEntry> {
    let body = entry.get(HEADER..)?;
    let original = attribute(body, TUPLE_ORIGINAL)?;
    let number = attribute(attribute(original, TUPLE_PROTOCOL)?, PROTOCOL_NUMBER)?;
    Some(FlowEntry {
        protocol: *number.first()?,
        original: ends_of(original)?,
        reply: ends_of(attribute(body, TUPLE_REPLY)?)?,
    })
}

/// Source and destination of a tuple.
fn ends_of(tuple: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (ip, inner) = (
        attribute(tuple, TUPLE_IP)?,
        attribute(tuple, TUPLE_PROTOCOL)?,
    );
    let end = |[v4, v6]: [u16; 2], port: u16| {
        let octets = attribute(ip, v4).or_else(|| attribute(ip, v6))?;
        // ICMP has no ports.
        let port = attribute(inner, port).and_then(|port| port.try_into().ok());
        let port = port.map_or(0, u16::from_be_bytes);
        Some(SocketAddr::new(address(octets)?, port))
    };
    Some((
        end([IP_V4_SOURCE, IP_V6_SOURCE], PROTOCOL_SOURCE_PORT)?,
        end(
            [IP_V4_DESTINATION, IP_V6_DESTINATION],
            PROTOCOL_DESTINATION_PORT,
        )?,
    ))
}

/// Where the entry's first packet wanted to go.
pub(super) fn original_destination(entry: &[u8]) -> Option<SocketAddr> {
    flow(entry).map(|flow| flow.original.1)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::bytes;

    /// A dump, kernel 6.18, of what `conntrack -L` shows as `udp 17 29 src=127.0.0.1 dst=127.0.0.9 sport=4321
    /// dport=53 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 sport=5300 dport=4321`: redirected by `udp dport 53
    /// redirect to :5300`.
    const REDIRECTED: &str = include_str!("../../tests/fixtures/conntrack-redirected-4.hex");
    /// The same of `src=::1 dst=::1 sport=4321 dport=53 [UNREPLIED] src=::1 dst=::1 sport=5300 dport=4321`.
    const REDIRECTED_V6: &str = include_str!("../../tests/fixtures/conntrack-redirected-6.hex");

    #[test]
    fn knows_where_a_redirected_packet_wanted_to_go() {
        assert_eq!(
            original_destination(&bytes(REDIRECTED)),
            Some("127.0.0.9:53".parse().unwrap())
        );
        assert_eq!(
            original_destination(&bytes(REDIRECTED_V6)),
            Some("[::1]:53".parse().unwrap())
        );
    }

    #[test]
    fn an_entry_is_read_with_both_directions() {
        let ends = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
        let flow = flow(&bytes(REDIRECTED)).unwrap();
        assert_eq!(flow.protocol, 17);
        assert_eq!(flow.original, ends("127.0.0.1:4321", "127.0.0.9:53"));
        assert_eq!(flow.reply, ends("127.0.0.1:5300", "127.0.0.1:4321"));
    }

    #[test]
    fn a_deletion_names_the_entry_and_no_younger_one() {
        let request = deletion(Family::V4, &bytes(REDIRECTED));
        let body = &request[HEADER..];
        let entry = bytes(REDIRECTED);
        assert_eq!(attribute(body, ID), attribute(&entry[HEADER..], ID));
        assert!(attribute(body, ID).is_some());
        assert_eq!(
            attribute(body, TUPLE_ORIGINAL),
            attribute(&entry[HEADER..], TUPLE_ORIGINAL)
        );
        assert_eq!(attribute(body, TUPLE_REPLY), None);
    }
}
