//! The verb `forge`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto,
    socket,
};

use crate::lab::LabError;
use crate::lab::traffic::forge::bytes;

/// What to forge.
#[derive(Clone, Debug, Subcommand)]
pub enum ForgeVerb {
    /// UDP with any source, by the kernel's routes.
    Udp(Ends),
    /// TCP with any source and any flags.
    Tcp {
        /// Both ends, and how often.
        #[command(flatten)]
        ends: Ends,
        /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32; all of them make an invalid segment.
        #[arg(long, default_value_t = 2)]
        flags: u8,
    },
    /// UDP in two fragments.
    Fragments {
        /// Both ends, and how often.
        #[command(flatten)]
        ends: Ends,
        /// Without the first one, which has the ports.
        #[arg(long)]
        later_alone: bool,
    },
    /// The first packet of an SCTP association.
    Sctp(Ends),
    /// An ICMP or ICMPv6 error about a flow that does not exist.
    Error(Ends),
    /// A neighbour solicitation with hop limit 255 to a unicast address.
    Solicit(Ends),
    /// UDP in a frame of one's own, past the kernel's routes.
    Frame {
        /// Both ends, and how often.
        #[command(flatten)]
        ends: Ends,
        /// The interface to send by.
        #[arg(long)]
        device: String,
        /// The destination's MAC address.
        #[arg(long, value_parser = mac)]
        to_mac: [u8; 6],
        /// The source's MAC address; the interface's own without it.
        #[arg(long, value_parser = mac)]
        from_mac: Option<[u8; 6]>,
        /// A VLAN tag; 0 is a priority tag.
        #[arg(long)]
        vlan: Option<u16>,
        /// The frame's type in hexadecimal, such as 88cc; that of the packet without it.
        #[arg(long, value_parser = hexadecimal)]
        ethertype: Option<u16>,
    },
    /// Gratuitous ARP or an unsolicited neighbour advertisement: this address is mine.
    Announce {
        /// The address.
        address: IpAddr,
        /// The interface to send by.
        #[arg(long, default_value = "eth0")]
        device: String,
        /// The MAC address to name; the interface's own without it.
        #[arg(long, value_parser = mac)]
        from_mac: Option<[u8; 6]>,
        /// How often.
        #[command(flatten)]
        times: Times,
    },
}

/// Both ends, and how often.
#[derive(Clone, Debug, Args)]
pub struct Ends {
    /// The source to claim, ADDRESS:PORT (`[ADDRESS]:PORT` for IPv6); the port means nothing to ICMP.
    #[arg(long)]
    pub from: SocketAddr,
    /// The destination, ADDRESS:PORT.
    #[arg(long)]
    pub to: SocketAddr,
    #[command(flatten)]
    times: Times,
}

/// How often.
#[derive(Clone, Debug, Args)]
pub struct Times {
    /// How many.
    #[arg(long, short = 'n', default_value_t = 5)]
    count: u32,
    /// Time between two.
    #[arg(long, default_value = "5ms")]
    every: SignedDuration,
}

/// Sends what was asked for.
///
/// # Errors
/// When the families differ, the interface does not exist, or the kernel refuses a packet.
pub fn run(verb: &ForgeVerb) -> Result<(), LabError> {
    match verb {
        ForgeVerb::Udp(ends) => routed(ends, &bytes::udp(ends.from, ends.to)),
        ForgeVerb::Tcp { ends, flags } => routed(ends, &bytes::tcp(ends.from, ends.to, *flags)),
        ForgeVerb::Fragments { ends, later_alone } => {
            let parts = bytes::fragments(ends.from, ends.to);
            let sent = &parts[usize::from(*later_alone)..];
            sent.iter().try_for_each(|part| routed(ends, part))
        }
        ForgeVerb::Sctp(ends) => routed(ends, &bytes::sctp(ends.from, ends.to)),
        ForgeVerb::Error(ends) => routed(ends, &bytes::stray_error(ends.from.ip(), ends.to.ip())),
        ForgeVerb::Solicit(ends) => {
            let (from, to) = (six(ends.from)?, six(ends.to)?);
            routed(ends, &bytes::solicitation(from, to))
        }
        ForgeVerb::Frame {
            ends,
            device,
            to_mac,
            from_mac,
            vlan,
            ethertype,
        } => {
            let (link, own) = interface(device)?;
            let packet = bytes::udp(ends.from, ends.to);
            let frame = bytes::frame(
                from_mac.unwrap_or(own),
                *to_mac,
                *vlan,
                ethertype.unwrap_or_else(|| bytes::kind(&packet)),
                &packet,
            );
            framed(&link, &frame, &ends.times)
        }
        ForgeVerb::Announce {
            address,
            device,
            from_mac,
            times,
        } => {
            let (link, own) = interface(device)?;
            framed(
                &link,
                &bytes::announcement(from_mac.unwrap_or(own), *address),
                times,
            )
        }
    }
}

fn routed(ends: &Ends, packet: &[u8]) -> Result<(), LabError> {
    if ends.from.is_ipv4() != ends.to.is_ipv4() {
        let why = "source and destination must be of one family".to_owned();
        return Err(LabError::Invalid {
            what: "source",
            value: ends.from.to_string(),
            why,
        });
    }
    let family = if ends.to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(
        family,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Raw,
    );
    let fd = fd.map_err(LabError::system("open a raw socket"))?;
    let to = SockaddrStorage::from(SocketAddr::new(ends.to.ip(), 0));
    repeat(&ends.times, || {
        sendto(fd.as_raw_fd(), packet, &to, MsgFlags::empty()).map(drop)
    })
}

fn framed(link: &LinkAddr, frame: &[u8], times: &Times) -> Result<(), LabError> {
    let fd: OwnedFd = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(LabError::system("open a packet socket"))?;
    repeat(times, || {
        sendto(fd.as_raw_fd(), frame, link, MsgFlags::empty()).map(drop)
    })
}

fn repeat(times: &Times, mut send: impl FnMut() -> Result<(), nix::Error>) -> Result<(), LabError> {
    let pause = Duration::try_from(times.every).unwrap_or_default();
    for _ in 0..times.count {
        send().map_err(LabError::system("send a forged packet"))?;
        std::thread::sleep(pause);
    }
    Ok(())
}

fn interface(name: &str) -> Result<(LinkAddr, [u8; 6]), LabError> {
    let all = getifaddrs().map_err(LabError::system("list the interfaces"))?;
    let links = all
        .filter(|address| address.interface_name == name)
        .filter_map(|address| address.address);
    let link = links
        .filter_map(|address| address.as_link_addr().copied())
        .next();
    let found = link.and_then(|link| Some((link, link.addr()?)));
    let why = || "there is no such Ethernet interface here".to_owned();
    found.ok_or_else(|| LabError::Invalid {
        what: "device",
        value: name.to_owned(),
        why: why(),
    })
}

fn six(address: SocketAddr) -> Result<Ipv6Addr, LabError> {
    match address.ip() {
        IpAddr::V6(six) => Ok(six),
        IpAddr::V4(four) => {
            let why = "neighbour discovery is IPv6's".to_owned();
            Err(LabError::Invalid {
                what: "address",
                value: four.to_string(),
                why,
            })
        }
    }
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes = bytes.map_err(|error| error.to_string())?;
    bytes
        .try_into()
        .map_err(|_| "a MAC address has six bytes: 02:00:00:00:00:01".to_owned())
}

fn hexadecimal(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 16).map_err(|error| error.to_string())
}
