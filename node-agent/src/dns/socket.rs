use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use postern_plan::desired::SocketSource;
use postern_plan::desired::dns::DnsExit;
use postern_plan::host::Family;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// By which way a resolver is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResolverPath<'a> {
    /// As any process of the node would.
    Plain,
    /// With the exit's mark, on its device, from its address. A socket that cannot be made so is
    /// not made: an unbound one would leave by the node's uplink.
    Exit(&'a DnsExit),
}

/// A datagram socket that takes datagrams of this resolver only; its port is the kernel's random
/// choice.
pub(super) fn datagram(way: ResolverPath<'_>, resolver: SocketAddr) -> io::Result<UdpSocket> {
    let (socket, source) = open(way, resolver, SockType::Datagram)?;
    // connect(2) chooses a port as bind(2) does.
    if !source.is_unspecified() {
        let source = SocketAddr::new(source, 0);
        bind(socket.as_raw_fd(), &SockaddrStorage::from(source))?;
    }
    connect(socket.as_raw_fd(), &SockaddrStorage::from(resolver))?;
    UdpSocket::from_std(socket.into())
}

/// A connection to the resolver.
pub(super) async fn connection(
    way: ResolverPath<'_>,
    resolver: SocketAddr,
) -> io::Result<TcpStream> {
    let (socket, source) = open(way, resolver, SockType::Stream)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(resolver).await
}

/// Does this server take a connection that is made through the exit? A refusal does not count: the gateway itself refuses
/// with a reset what it does not offer.
pub(crate) async fn takes_connection(exit: &DnsExit, server: SocketAddr) -> bool {
    match connection(ResolverPath::Exit(exit), server).await {
        // The reset leaves no entry behind that waits for late packets (RFC 9293, section 3.6.1), neither here nor at the gateway.
        Ok(connection) => {
            drop(connection.set_zero_linger());
            true
        }
        Err(_) => false,
    }
}

fn open(
    way: ResolverPath<'_>,
    resolver: SocketAddr,
    kind: SockType,
) -> io::Result<(OwnedFd, IpAddr)> {
    let family = if resolver.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, kind, flags, None)?;
    let source = match way {
        ResolverPath::Plain => unspecified(resolver),
        ResolverPath::Exit(exit) => {
            // The gateway's own exit has no mark: its routes are the node's.
            if exit.mark != 0 {
                setsockopt(&socket, sockopt::Mark, &exit.mark)?;
            }
            setsockopt(
                &socket,
                sockopt::BindToDevice,
                &OsString::from(exit.device.as_str()),
            )?;
            match exit.sources.get(&Family::of(&resolver.ip())) {
                Some(SocketSource::Address(address)) => *address,
                Some(SocketSource::Device) => unspecified(resolver),
                None => return Err(io::ErrorKind::AddrNotAvailable.into()),
            }
        }
    };
    Ok((socket, source))
}

fn unspecified(resolver: SocketAddr) -> IpAddr {
    match resolver {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
