//! ICMP and ICMPv6 echo requests (RFC 792, RFC 4443) from a raw socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, connect, recv,
    send, socket,
};

use crate::lab::traffic::send::flow::Flow;

/// Echo requests, and the replies that belong to them.
pub(crate) fn echo_requests(to: IpAddr, flow: &Flow) {
    let identifier = u16::try_from(std::process::id() & 0xffff).unwrap_or_default() ^ flow.number();
    let mut socket = None;
    let mut sequence = 0_u16;
    loop {
        flow.pace();
        let Some(open) = socket
            .take()
            .or_else(|| flow.noted(raw(to).map_err(Into::into)))
        else {
            continue;
        };
        sequence = sequence.wrapping_add(1);
        let sent = send(
            open.as_raw_fd(),
            &request(to, identifier, sequence),
            MsgFlags::MSG_DONTWAIT,
        );
        flow.tally(|tally| {
            tally.sent += 1;
            if let Err(error) = sent {
                tally.failed(&error.into());
            }
            let mut buffer = [0; 512];
            while let Ok(length) = recv(open.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                if is_reply(to, &buffer[..length], identifier) {
                    tally.received += 1;
                    tally.hears();
                }
            }
        });
        socket = Some(open);
    }
}

fn raw(to: IpAddr) -> Result<OwnedFd, nix::Error> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    connect(
        fd.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(to, 0)),
    )?;
    Ok(fd)
}

/// The kernel fills in the checksum of ICMPv6 alone.
fn request(to: IpAddr, identifier: u16, sequence: u16) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(b"lab!");
    if to.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}

/// A raw IPv4 socket shows the IP header, an IPv6 one does not.
fn is_reply(to: IpAddr, packet: &[u8], identifier: u16) -> bool {
    let (kind, start) = match to {
        IpAddr::V4(_) => (
            0,
            usize::from(packet.first().copied().unwrap_or_default() & 15) * 4,
        ),
        IpAddr::V6(_) => (129, 0),
    };
    let header = packet.get(start..start + 6).unwrap_or_default();
    header.first() == Some(&kind) && header.get(4..6) == Some(&identifier.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::{checksum, is_reply, request};

    #[test]
    fn a_request_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&request([203, 0, 113, 1].into(), 77, 5)), 0);
    }

    #[test]
    fn only_a_reply_with_the_own_identifier_counts() {
        let to = "2001:db8::1".parse().unwrap();
        assert!(is_reply(to, &[129, 0, 0, 0, 0, 77, 0, 5], 77));
        assert!(!is_reply(to, &[129, 0, 0, 0, 0, 78, 0, 5], 77));
        assert!(!is_reply(to, &[128, 0, 0, 0, 0, 77, 0, 5], 77));
    }
}
