//! Echoes (RFC 792, RFC 4443) by a tunnel, at a steady pace. The gateway's kernel answers them, so that an agent that
//! restarts there is no outage.

use std::collections::VecDeque;
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
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Outcome;

/// ICMP's echo and its reply, ICMPv6's echo and its reply.
const ECHO4: u8 = 8;
const REPLY4: u8 = 0;
const ECHO6: u8 = 128;
const REPLY6: u8 = 129;

/// How long an answer may take. A way around the earth and back takes less.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Between two tries to open a socket.
const REOPEN: Duration = Duration::from_millis(250);

/// Sends echoes until the task is aborted, and passes each outcome on.
pub(super) async fn keep_asking(
    exit: DnsExit,
    gateway: IpAddr,
    pace: Duration,
    tell: impl AsyncFn(Outcome),
) {
    let mut number = 0;
    loop {
        if let Err(error) = ask_until_failure(&exit, gateway, pace, &mut number, &tell).await {
            tracing::debug!(%error, %gateway, "a gateway cannot be asked");
            tell(Outcome::Unknown).await;
        }
        sleep(pace.max(REOPEN)).await;
    }
}

async fn ask_until_failure(
    exit: &DnsExit,
    gateway: IpAddr,
    pace: Duration,
    number: &mut u16,
    tell: &impl AsyncFn(Outcome),
) -> io::Result<()> {
    // A connected raw socket is used as a UDP socket is; tokio has no type of its own for it.
    let socket = UdpSocket::from_std(open(exit, gateway)?.into())?;
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: VecDeque<(u16, Instant)> = VecDeque::new();
    let mut buffer = [0; 256];
    loop {
        tokio::select! {
            // Answers first: a node that was busy has read none of those that came.
            biased;
            length = socket.recv(&mut buffer) => {
                let packet = buffer.get(..length?).unwrap_or_default();
                let Some(answered) = reply_number(packet, gateway) else { continue };
                let Some(at) = waiting.iter().position(|(sent, _)| *sent == answered) else { continue };
                // Those before it may still be answered on a way that reorders; they are not missed.
                if let Some((_, sent)) = waiting.drain(..=at).next_back() {
                    tell(Outcome::Answered(sent.elapsed())).await;
                }
            }
            due = ticks.tick() => {
                let late = due.elapsed();
                if late > pace {
                    tell(Outcome::Late(late)).await;
                }
                *number = number.wrapping_add(1);
                socket.send(&request(gateway, *number)).await?;
                waiting.push_back((*number, Instant::now()));
                while waiting.front().is_some_and(|(_, sent)| sent.elapsed() > PATIENCE) {
                    waiting.pop_front();
                    tell(Outcome::Missed).await;
                }
            }
        }
    }
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

/// The number of the echo that a packet answers. An IPv4 raw socket gives the IP header too (raw(7)), an IPv6 one does not.
fn reply_number(packet: &[u8], gateway: IpAddr) -> Option<u16> {
    let (kind, message) = match gateway {
        IpAddr::V4(_) => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            (REPLY4, packet.get(header..)?)
        }
        IpAddr::V6(_) => (REPLY6, packet),
    };
    let is_ours = message.first() == Some(&kind)
        && message.get(4..6) == Some(&identifier().to_be_bytes()[..]);
    let number = message.get(6..8).filter(|_| is_ours)?;
    Some(u16::from_be_bytes(number.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_checksum_of_rfc_1071_and_only_its_reply_counts() {
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
        assert_eq!(reply_number(&reply(7), gateway), Some(7));
        assert_eq!(reply_number(&message, gateway), None);
        assert_eq!(reply_number(&[], gateway), None);
    }
}
