//! Packets of the evaluator as bytes, each with a number by which it is known again.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

use std::net::IpAddr;

use postern_plan::evaluate::{Packet, Transport};
use postern_plan::host::Family;

/// The last four bytes of what the test sends; nothing of what the kernel itself sends ends like them.
const MARKER: [u8; 4] = *b"pst!";

pub(crate) fn number(bytes: &[u8]) -> Option<u32> {
    let (rest, marker) = bytes.split_last_chunk::<4>()?;
    let (_, number) = rest.split_last_chunk::<4>()?;
    (*marker == MARKER).then(|| u32::from_be_bytes(*number))
}

/// The Internet checksum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Source and destination, length and protocol (RFC 9293, 3.1; RFC 8200, 8.1).
fn pseudo_header(packet: &Packet, length: usize) -> Vec<u8> {
    let mut out = addresses(packet);
    let length = u16::try_from(length).unwrap();
    match packet.family() {
        Family::V4 => out.extend([&[0, packet.protocol()][..], &length.to_be_bytes()].concat()),
        Family::V6 => {
            out.extend(u32::from(length).to_be_bytes());
            out.extend([0, 0, 0, packet.protocol()]);
        }
    }
    out
}

fn addresses(packet: &Packet) -> Vec<u8> {
    [packet.source, packet.destination]
        .into_iter()
        .flat_map(|address| match address {
            IpAddr::V4(four) => four.octets().to_vec(),
            IpAddr::V6(six) => six.octets().to_vec(),
        })
        .collect()
}

/// The transport's bytes, with its checksum: conntrack calls a packet with a wrong one invalid.
fn transport(packet: &Packet, number: u32) -> Vec<u8> {
    let payload = [&number.to_be_bytes()[..], &MARKER].concat();
    let sport = |sport: u16| {
        if sport == 68 {
            68
        } else {
            1024 + (number % 60_000) as u16
        }
    };
    let (mut bytes, at) = match packet.transport {
        Transport::Tcp {
            sport: from,
            dport,
            syn,
        } => {
            let flags: u8 = if syn { 0x02 } else { 0x10 };
            let head = [&sport(from).to_be_bytes()[..], &dport.to_be_bytes()].concat();
            let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
            ([&head[..], &rest, &payload].concat(), 16)
        }
        Transport::Udp { sport: from, dport } => {
            let length = u16::try_from(8 + payload.len()).unwrap();
            let ports = [sport(from), dport, length, 0].map(u16::to_be_bytes);
            ([&ports.concat()[..], &payload].concat(), 6)
        }
        Transport::Icmp(_) => {
            let kind = match packet.family() {
                Family::V4 => 8,
                Family::V6 => 128,
            };
            let id = (number as u16).to_be_bytes();
            ([&[kind, 0, 0, 0][..], &id, &[0, 1], &payload].concat(), 2)
        }
        // Conntrack looks into GRE (RFC 2784): version 0, IPv4 inside.
        Transport::Other(47) => return [&[0, 0, 8, 0][..], &payload].concat(),
        Transport::Sctp { .. } | Transport::Other(_) => return payload,
    };
    let pseudo = match (packet.transport, packet.family()) {
        (Transport::Icmp(_), Family::V4) => Vec::new(),
        _ => pseudo_header(packet, bytes.len()),
    };
    let sum = checksum(&[&pseudo, &bytes]);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// A packet as it is on the wire, with its number at the end.
pub(crate) fn bytes(packet: &Packet, number: u32) -> Vec<u8> {
    let transport = transport(packet, number);
    let head = match packet.family() {
        Family::V4 => {
            let length = u16::try_from(20 + transport.len()).unwrap().to_be_bytes();
            let mut head = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64];
            head.extend([packet.protocol(), 0, 0]);
            head.extend(addresses(packet));
            let sum = checksum(&[&head]).to_be_bytes();
            head[10..12].copy_from_slice(&sum);
            head
        }
        Family::V6 => {
            let length = u16::try_from(transport.len()).unwrap().to_be_bytes();
            let mut head = vec![0x60, 0, 0, 0, length[0], length[1], packet.protocol(), 64];
            head.extend(addresses(packet));
            head
        }
    };
    [head, transport].concat()
}
