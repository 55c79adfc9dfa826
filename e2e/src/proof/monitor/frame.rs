//! Reading an Ethernet frame as far as the counters need it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a frame that are looked at: Ethernet, the longest IPv4 or IPv6 header, some extension headers, TCP flags.
pub(crate) const SNAP: usize = 256;

const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

const IGMP: u8 = 2;

/// `net.ipv4.ip_default_ttl` and the default IPv6 hop limit.
const FIRST_HOPS: u8 = 64;

/// The hop limit of neighbour discovery: a router that passed it on has lowered it (RFC 4861, section 7.1).
const ON_LINK_HOPS: u8 = 255;

/// Protocol, local address and port, remote address and port; 0 where a protocol has no ports.
pub(crate) type Tuple = (u8, IpAddr, u16, IpAddr, u16);

/// The headers of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The MAC address that sent the frame.
    pub(crate) mac: [u8; 6],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) note: Note,
}

impl Packet {
    /// The packet's flow, seen from its sender.
    pub(crate) fn tuple(&self) -> Tuple {
        let (from, to) = self.ports.unwrap_or_default();
        (self.protocol, self.source, from, self.destination, to)
    }

    /// The packet's flow, seen from its receiver.
    pub(crate) fn reverse(&self) -> Tuple {
        let (from, to) = self.ports.unwrap_or_default();
        (self.protocol, self.destination, to, self.source, from)
    }
}

/// What sets a packet apart from ordinary traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    None,
    /// TCP with the reset flag, or an ICMP error, that no router has passed on: its hop count is the one that Linux
    /// starts with. A pod's own reset has gone through its node and lost one hop. The flow is the refused one, seen from
    /// who refuses it.
    Refusal(Tuple),
    /// Neighbour discovery that no router has passed on, with the address that it is about.
    Neighbour(IpAddr),
    /// The membership of multicast groups (IGMP, MLD), which no router passes on.
    Membership,
}

/// The packet in an Ethernet frame, or nothing when it is neither IPv4 nor IPv6 or too short to be.
pub(crate) fn parse(frame: &[u8]) -> Option<Packet> {
    let content = frame.get(14..)?;
    let packet = match frame.get(12..14)? {
        [0x08, 0x00] => parse4(content),
        [0x86, 0xdd] => parse6(content),
        _ => None,
    };
    let mac = frame.get(6..12)?.try_into().ok()?;
    packet.map(|packet| Packet { mac, ..packet })
}

fn parse4(packet: &[u8]) -> Option<Packet> {
    let header = packet.get(..20)?;
    let length = usize::from(header[0] & 15) * 4;
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let later_fragment = u16::from_be_bytes([header[6] & 0x1f, header[7]]) > 0;
    let content = if later_fragment {
        &[][..]
    } else {
        packet.get(length..).unwrap_or_default()
    };
    Some(transport(
        [address(12).into(), address(16).into()],
        header[8],
        header[9],
        content,
    ))
}

fn parse6(packet: &[u8]) -> Option<Packet> {
    let header = packet.get(..40)?;
    let address = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&header[at..at + 16]);
        Ipv6Addr::from(bytes)
    };
    let (protocol, content) = upper_layer(header[6], packet.get(40..).unwrap_or_default());
    Some(transport(
        [address(8).into(), address(24).into()],
        header[7],
        protocol,
        content,
    ))
}

/// Steps over extension headers (RFC 8200 section 4), as nft's `meta l4proto` does.
fn upper_layer(mut protocol: u8, mut content: &[u8]) -> (u8, &[u8]) {
    while let [next, length, rest @ ..] = content {
        let size = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => usize::from(*length) * 8 + 8,
            FRAGMENT => 8,
            _ => break,
        };
        let later_fragment = protocol == FRAGMENT
            && matches!(rest, [high, low, ..] if (*high, *low & 0xf8) != (0, 0));
        protocol = *next;
        if later_fragment {
            return (protocol, &[]);
        }
        content = content.get(size..).unwrap_or_default();
    }
    (protocol, content)
}

fn transport([source, destination]: [IpAddr; 2], hops: u8, protocol: u8, content: &[u8]) -> Packet {
    let ports = match (protocol, content) {
        (TCP | UDP, [a, b, c, d, ..]) => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        _ => None,
    };
    let packet = Packet {
        mac: [0; 6],
        source,
        destination,
        protocol,
        ports,
        note: Note::None,
    };
    let note = note(&packet, hops, content).unwrap_or(Note::None);
    Packet { note, ..packet }
}

fn note(packet: &Packet, hops: u8, content: &[u8]) -> Option<Note> {
    let kind = *content.first()?;
    match (packet.protocol, kind) {
        (TCP, _) if hops == FIRST_HOPS && content.get(13)? & 4 != 0 => {
            Some(Note::Refusal(packet.tuple()))
        }
        // Unreachable and time exceeded; in IPv6 also "packet too big". An error is about the packet that it contains.
        (ICMP, 3 | 11) if hops == FIRST_HOPS => {
            Some(Note::Refusal(parse4(content.get(8..)?)?.reverse()))
        }
        (ICMP6, 1..=3) if hops == FIRST_HOPS => {
            Some(Note::Refusal(parse6(content.get(8..)?)?.reverse()))
        }
        (ICMP6, 133 | 134) if hops == ON_LINK_HOPS => Some(Note::Neighbour(packet.destination)),
        (ICMP6, 135 | 136) if hops == ON_LINK_HOPS => {
            let target: [u8; 16] = content.get(8..24)?.try_into().ok()?;
            Some(Note::Neighbour(target.into()))
        }
        (IGMP, _) | (ICMP6, 130..=132 | 143) if hops == 1 => Some(Note::Membership),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Note, parse};

    fn frame(kind: [u8; 2], packet: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &kind, packet].concat()
    }

    #[test]
    fn a_reset_is_a_refusal_of_the_node_only_before_its_first_hop() {
        let refused = Note::Refusal((
            6,
            "10.0.0.1".parse().unwrap(),
            7,
            "10.0.0.2".parse().unwrap(),
            256,
        ));
        for (hops, note) in [(64, refused), (63, Note::None)] {
            let mut packet = vec![
                0x45, 0, 0, 40, 0, 0, 0, 0, hops, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
            ];
            packet.extend([
                0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 4, 0, 0, 0, 0, 0, 0,
            ]);
            let packet = parse(&frame([8, 0], &packet)).unwrap();
            assert_eq!(
                (packet.protocol, packet.ports, packet.note),
                (6, Some((7, 256)), note)
            );
        }
    }

    #[test]
    fn an_icmp_error_is_about_the_flow_of_the_packet_that_it_contains() {
        let inner = [
            0x45, 0, 0, 40, 0, 0, 0, 0, 60, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1, 0, 7, 1, 0,
        ];
        let mut packet = vec![
            0x45, 0, 0, 60, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0,
            0,
        ];
        packet.extend(inner);
        let packet = parse(&frame([8, 0], &packet)).unwrap();
        let [local, remote] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        assert_eq!(packet.note, Note::Refusal((17, local, 256, remote, 7)));
    }

    #[test]
    fn a_solicitation_that_a_router_passed_on_is_a_packet_like_any_other() {
        for hops in [255, 254] {
            let mut packet = vec![0x60, 0, 0, 0, 0, 24, 58, hops];
            packet.extend([0; 32]);
            packet.extend([135, 0, 0, 0, 0, 0, 0, 0]);
            packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
            let note = parse(&frame([0x86, 0xdd], &packet)).unwrap().note;
            let on_link = Note::Neighbour("fe80::9".parse().unwrap());
            assert_eq!(note == on_link, hops == 255, "{note:?}");
        }
    }

    #[test]
    fn a_later_fragment_has_a_protocol_and_no_ports() {
        let mut packet = vec![
            0x45, 0, 0, 40, 0, 0, 0, 9, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        packet.extend([0, 7, 1, 0]);
        let packet = parse(&frame([8, 0], &packet)).unwrap();
        assert_eq!((packet.protocol, packet.ports), (17, None));
    }

    #[test]
    fn ipv6_extension_headers_are_stepped_over() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
        packet.extend([0; 32]);
        packet.extend([60, 0, 0, 0, 0, 0, 0, 0]); // hop by hop, then destination options
        packet.extend([17, 0, 0, 0, 0, 0, 0, 0]); // destination options, then UDP
        packet.extend([0, 53, 0, 7, 0, 8, 0, 0]);
        let packet = parse(&frame([0x86, 0xdd], &packet)).unwrap();
        assert_eq!((packet.protocol, packet.ports), (17, Some((53, 7))));
    }

    #[test]
    fn other_frames_are_nothing() {
        assert_eq!(parse(&frame([8, 6], &[0; 28])), None);
        assert_eq!(parse(&[1, 2, 3]), None);
    }
}
