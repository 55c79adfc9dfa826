//! One echo (RFC 792, RFC 4443) by a tunnel. The gateway's kernel answers it, so that an agent that restarts there is no
//! outage.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt,
    socket, sockopt,
};
use postern_plan::desired::SocketSource;
use postern_plan::desired::dns::DnsExit;
use postern_plan::host::Family;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// ICMP's echo and its reply, ICMPv6's echo and its reply.
const ECHO4: u8 = 8;
const REPLY4: u8 = 0;
const ECHO6: u8 = 128;
const REPLY6: u8 = 129;

/// How long an answer may take. A way around the earth and back takes less.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What came of one echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// The gateway answered after this time.
    Answered(Duration),
    /// It did not, in time.
    Missed,
    /// It could not be asked: no `CAP_NET_RAW`, no device or address, or the guard lets nothing out.
    Unknown,
}

pub(super) async fn echo(exit: &DnsExit, gateway: IpAddr, number: u16) -> Echo {
    let begun = Instant::now();
    match timeout(PATIENCE, ask(exit, gateway, number)).await {
        Ok(Ok(())) => Echo::Answered(begun.elapsed()),
        Err(_) => Echo::Missed,
        Ok(Err(error)) => {
            tracing::debug!(%error, %gateway, "a gateway cannot be asked");
            Echo::Unknown
        }
    }
}

async fn ask(exit: &DnsExit, gateway: IpAddr, number: u16) -> io::Result<()> {
    // A connected raw socket is used as a UDP socket is; tokio has no type of its own for it.
    let socket = UdpSocket::from_std(open(exit, gateway)?.into())?;
    socket.send(&request(gateway, number)).await?;
    answer(&socket, gateway, number).await
}

fn open(exit: &DnsExit, gateway: IpAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match gateway {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Raw, flags, protocol)?;
    setsockopt(&socket, sockopt::Mark, &exit.mark)?;
    let device = OsString::from(exit.device.as_str());
    setsockopt(&socket, sockopt::BindToDevice, &device)?;
    let source = exit.sources.get(&Family::of(&gateway));
    let Some(SocketSource::Address(source)) = source else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let address = |address| SockaddrStorage::from(SocketAddr::new(address, 0));
    bind(socket.as_raw_fd(), &address(*source))?;
    connect(socket.as_raw_fd(), &address(gateway))?;
    Ok(socket)
}

/// Eight bytes: type, code, checksum, identifier, number. The kernel fills ICMPv6's checksum in (RFC 3542, section 3.1).
fn request(gateway: IpAddr, number: u16) -> [u8; 8] {
    let kind = if gateway.is_ipv4() { ECHO4 } else { ECHO6 };
    let [high, low] = number.to_be_bytes();
    let [id_high, id_low] = identifier().to_be_bytes();
    let mut message = [kind, 0, 0, 0, id_high, id_low, high, low];
    if gateway.is_ipv4() {
        let [high, low] = checksum(&message).to_be_bytes();
        message[2] = high;
        message[3] = low;
    }
    message
}

/// Tells this agent's echoes from those of others on the node.
fn identifier() -> u16 {
    u16::try_from(std::process::id() & 0xffff).unwrap_or_default()
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2);
    let sum: u32 = words
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or_default()
}

async fn answer(socket: &UdpSocket, gateway: IpAddr, number: u16) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_reply(buffer.get(..length).unwrap_or_default(), gateway, number) {
            return Ok(());
        }
    }
}

/// An IPv4 raw socket gives the IP header too (raw(7)), an IPv6 one does not.
fn is_reply(packet: &[u8], gateway: IpAddr, number: u16) -> bool {
    let (kind, message) = match gateway {
        IpAddr::V4(_) => {
            let header = packet
                .first()
                .map_or(0, |byte| usize::from(byte & 0x0f) * 4);
            (REPLY4, packet.get(header..).unwrap_or_default())
        }
        IpAddr::V6(_) => (REPLY6, packet),
    };
    let wanted = [identifier().to_be_bytes(), number.to_be_bytes()].concat();
    message.first() == Some(&kind) && message.get(4..8) == Some(&wanted[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_checksum_of_rfc_1071_and_only_its_own_reply_counts() {
        let gateway: IpAddr = "198.18.0.1".parse().unwrap();
        let message = request(gateway, 7);
        assert_eq!(checksum(&message), 0);
        let reply = |number: u16| {
            let mut reply = request(gateway, number);
            reply[0] = REPLY4;
            let header = [
                0x45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ];
            [&header[..], &reply[..]].concat()
        };
        assert!(is_reply(&reply(7), gateway, 7));
        assert!(!is_reply(&reply(8), gateway, 7));
        assert!(!is_reply(&message, gateway, 7));
        assert!(!is_reply(&[], gateway, 7));
    }
}
