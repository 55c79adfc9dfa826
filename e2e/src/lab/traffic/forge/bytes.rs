//! Packets and frames as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What fragments of one datagram have in common.
const IDENTIFICATION: u8 = 77;

/// What a forged UDP packet carries.
const CONTENT: &[u8] = b"forged";

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FRAGMENT: u8 = 44;
const ICMP6: u8 = 58;
const SCTP: u8 = 132;

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| {
        u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or_default(),
        ]))
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum >> 16 > 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// The sum over pseudo header and content (RFC 768, RFC 8200 section 8.1).
fn transport_checksum(from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) -> u16 {
    let length = u32::try_from(content.len())
        .unwrap_or_default()
        .to_be_bytes();
    let mut bytes = [octets(from), octets(to)].concat();
    bytes.extend([&length[..], &[0, 0, 0, protocol], content].concat());
    checksum(&bytes)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn set(bytes: &mut [u8], at: usize, sum: u16) {
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// An IP packet around this content. Both addresses must be of one family; a mixed pair gives an empty packet.
fn packet(from: IpAddr, to: IpAddr, protocol: u8, hops: u8, content: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => packet4(from, to, protocol, hops, content),
        (IpAddr::V6(from), IpAddr::V6(to)) => packet6(from, to, protocol, hops, content),
        _ => Vec::new(),
    }
}

fn packet4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, hops: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + content.len())
        .unwrap_or_default()
        .to_be_bytes();
    let mut header = vec![
        0x45, 0, length[0], length[1], 0, 0, 0, 0, hops, protocol, 0, 0,
    ];
    header.extend([from.octets(), to.octets()].concat());
    let sum = checksum(&header);
    set(&mut header, 10, sum);
    [&header, content].concat()
}

fn packet6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, hops: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .unwrap_or_default()
        .to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], protocol, hops];
    header.extend([from.octets(), to.octets()].concat());
    [&header, content].concat()
}

pub(super) fn udp(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    packet(from.ip(), to.ip(), UDP, 64, &datagram(from, to))
}

fn datagram(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let length = u16::try_from(8 + CONTENT.len()).unwrap_or_default();
    let mut content = [
        from.port().to_be_bytes(),
        to.port().to_be_bytes(),
        length.to_be_bytes(),
        [0; 2],
    ]
    .concat();
    content.extend(CONTENT);
    // Zero would say that there is no checksum, which IPv6 does not allow.
    let sum = match transport_checksum(from.ip(), to.ip(), UDP, &content) {
        0 => 0xffff,
        sum => sum,
    };
    set(&mut content, 6, sum);
    content
}

/// The same datagram in two fragments (RFC 791, section 3.2; RFC 8200, section 4.5): the first one has the ports, the later one
/// nothing but content.
pub(super) fn fragments(from: SocketAddr, to: SocketAddr) -> [Vec<u8>; 2] {
    let content = datagram(from, to);
    let (first, later) = content.split_at(8);
    [(first, 0, 1), (later, 1, 0)]
        .map(|(part, eighths, more)| fragment(from.ip(), to.ip(), part, eighths, more))
}

/// A part of a datagram that begins at so many times eight bytes.
fn fragment(from: IpAddr, to: IpAddr, part: &[u8], eighths: u16, more: u16) -> Vec<u8> {
    if from.is_ipv6() {
        let [high, low] = (eighths << 3 | more).to_be_bytes();
        let header = [UDP, 0, high, low, 0, 0, 0, IDENTIFICATION];
        let content = [&header[..], part].concat();
        return packet(from, to, FRAGMENT, 64, &content);
    }
    let mut bytes = packet(from, to, UDP, 64, part);
    if let Some(header) = bytes.get_mut(..20) {
        header[5] = IDENTIFICATION;
        header[6..8].copy_from_slice(&(more << 13 | eighths).to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum(header);
        set(header, 10, sum);
    }
    bytes
}

/// A TCP segment with these flags (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32).
pub(super) fn tcp(from: SocketAddr, to: SocketAddr, flags: u8) -> Vec<u8> {
    let mut content = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    content.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0, 100, 0, 0, 0, 0]);
    let sum = transport_checksum(from.ip(), to.ip(), TCP, &content);
    set(&mut content, 16, sum);
    packet(from.ip(), to.ip(), TCP, 64, &content)
}

/// The first packet of an SCTP association: an INIT chunk (RFC 9260, 3.3.2).
pub(super) fn sctp(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut content = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    // No verification tag yet, and room for the checksum.
    content.extend([0; 8]);
    let (tag, window, streams, number) = ([0, 0, 0, 9], [0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]);
    content.extend([[1, 0, 0, 20], tag, window, streams, number].concat());
    let sum = castagnoli(&content).to_le_bytes();
    content[8..12].copy_from_slice(&sum);
    packet(from.ip(), to.ip(), SCTP, 64, &content)
}

/// CRC32c (RFC 9260, appendix A).
fn castagnoli(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1;
            sum = (sum >> 1) ^ (carry * 0x82f6_3b78);
        }
    }
    !sum
}

/// An ICMP error about a flow that does not exist.
pub(super) fn stray_error(from: IpAddr, to: IpAddr) -> Vec<u8> {
    let (protocol, kind) = if from.is_ipv4() {
        (ICMP, 3)
    } else {
        (ICMP6, 1)
    };
    let mut content = vec![kind, 1, 0, 0, 0, 0, 0, 0];
    content.extend(udp(SocketAddr::new(to, 9), SocketAddr::new(from, 9)));
    let sum = match protocol {
        ICMP => checksum(&content),
        _ => transport_checksum(from, to, ICMP6, &content),
    };
    set(&mut content, 2, sum);
    packet(from, to, protocol, 64, &content)
}

/// A neighbour solicitation (RFC 4861), whose hop limit is 255 as no router may pass it on.
pub(super) fn solicitation(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut content = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &to.octets()].concat();
    let sum = transport_checksum(from.into(), to.into(), ICMP6, &content);
    set(&mut content, 2, sum);
    packet6(from, to, ICMP6, 255, &content)
}

/// An announcement that an address belongs to a MAC address: gratuitous ARP (RFC 826) or an unsolicited neighbour
/// advertisement with the override flag, in its frame.
pub(super) fn announcement(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(four) => {
            let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
            arp.extend([&mac[..], &four.octets(), &[255; 6], &four.octets()].concat());
            frame(mac, [255; 6], None, 0x0806, &arp)
        }
        IpAddr::V6(six) => {
            let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let mut content = [
                &[136, 0, 0, 0, 0x20, 0, 0, 0][..],
                &six.octets(),
                &[2, 1],
                &mac,
            ]
            .concat();
            let sum = transport_checksum(six.into(), everybody.into(), ICMP6, &content);
            set(&mut content, 2, sum);
            frame(
                mac,
                [0x33, 0x33, 0, 0, 0, 1],
                None,
                0x86dd,
                &packet6(six, everybody, ICMP6, 255, &content),
            )
        }
    }
}

/// An Ethernet frame, with a VLAN tag (IEEE 802.1Q; number 0 is a priority tag) or without.
pub(super) fn frame(
    from: [u8; 6],
    to: [u8; 6],
    vlan: Option<u16>,
    kind: u16,
    content: &[u8],
) -> Vec<u8> {
    let tag = vlan
        .map(|number| [0x8100_u16.to_be_bytes(), number.to_be_bytes()].concat())
        .unwrap_or_default();
    [&to[..], &from, &tag, &kind.to_be_bytes(), content].concat()
}

/// The Ethernet type of an IP packet.
pub(super) fn kind(packet: &[u8]) -> u16 {
    if packet.first().is_some_and(|first| first >> 4 == 6) {
        0x86dd
    } else {
        0x0800
    }
}

#[cfg(test)]
mod tests {
    use super::{announcement, castagnoli, checksum, fragments, frame, kind, tcp, udp};

    #[test]
    fn the_checksum_of_sctp_is_that_of_its_check_string() {
        assert_eq!(castagnoli(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn headers_with_their_checksums_sum_to_zero() {
        let four = udp("10.0.0.1:5".parse().unwrap(), "10.0.0.2:7".parse().unwrap());
        assert_eq!(checksum(&four[..20]), 0);
        assert_eq!(four.len(), 34);
        let pseudo = [&four[12..20], &[0, 17, 0, 14], &four[20..]].concat();
        assert_eq!(checksum(&pseudo), 0);
    }

    #[test]
    fn an_ipv6_segment_sums_to_zero_with_its_pseudo_header() {
        let six = tcp(
            "[2001:db8::1]:5".parse().unwrap(),
            "[2001:db8::2]:7".parse().unwrap(),
            0x3f,
        );
        let pseudo = [&six[8..40], &[0, 0, 0, 20, 0, 0, 0, 6], &six[40..]].concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(kind(&six), 0x86dd);
    }

    #[test]
    fn two_fragments_together_are_the_datagram() {
        let (from, to) = ("10.0.0.1:5".parse().unwrap(), "10.0.0.2:7".parse().unwrap());
        let [first, later] = fragments(from, to);
        assert_eq!((checksum(&first[..20]), checksum(&later[..20])), (0, 0));
        assert_eq!((&first[6..8], &later[6..8]), (&[0x20, 0][..], &[0, 1][..]));
        assert_eq!([&first[20..], &later[20..]].concat(), udp(from, to)[20..]);
        let (from, to) = (
            "[2001:db8::1]:5".parse().unwrap(),
            "[2001:db8::2]:7".parse().unwrap(),
        );
        let [first, later] = fragments(from, to);
        assert_eq!(
            (first[6], &first[42..44], &later[42..44]),
            (44, &[0, 1][..], &[0, 8][..])
        );
        assert_eq!([&first[48..], &later[48..]].concat(), udp(from, to)[40..]);
    }

    #[test]
    fn a_tag_stands_before_the_type() {
        let tagged = frame([1; 6], [2; 6], Some(5), 0x0800, &[]);
        assert_eq!(tagged[12..], [0x81, 0, 0, 5, 8, 0]);
        assert_eq!(announcement([1; 6], "10.0.0.1".parse().unwrap()).len(), 42);
    }
}
