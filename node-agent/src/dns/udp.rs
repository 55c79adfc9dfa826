use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use postern_host::ports::TransportProtocol;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::answer::{Asker, Desk};
use super::node::DnsNode;

/// After an error of the socket itself, for example no memory.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest query that is read; clients send 512 bytes, with EDNS options some more.
const LONGEST_QUERY: usize = 4096;

/// A datagram, from whom, and to which of our addresses.
struct Datagram {
    client: SocketAddr,
    local: IpAddr,
    interface: u32,
    message: Vec<u8>,
    length: Length,
}

enum Length {
    Whole,
    Cut,
}

/// A socket on all addresses of one family. It asks the kernel for the address that a datagram was
/// sent to, and answers from there: the redirect gives each pod's datagrams the address of the link
/// they came by, and an answer from another one would not be translated back.
pub(super) struct DatagramListener {
    socket: UdpSocket,
}

impl DatagramListener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(family, SockType::Datagram, flags, None)?;
        if address.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
        })
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until it is dropped, each question in a task of its own.
    pub(super) async fn serve<N: DnsNode>(self, desk: Arc<Desk<N>>) {
        let listener = Arc::new(self);
        let mut questions = JoinSet::new();
        loop {
            tokio::select! {
                received = listener.receive() => match received {
                    Ok(datagram) => listener.take(datagram, &desk, &mut questions),
                    Err(error) => {
                        tracing::debug!(%error, "a datagram could not be received");
                        sleep(PAUSE).await;
                    }
                },
                Some(ended) = questions.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "a question was not answered");
                },
            }
        }
    }

    fn take<N: DnsNode>(
        self: &Arc<Self>,
        datagram: Datagram,
        desk: &Arc<Desk<N>>,
        questions: &mut JoinSet<()>,
    ) {
        if !desk.knows(datagram.client) {
            return;
        }
        let Some(permit) = desk.admit(datagram.client) else {
            return;
        };
        let (listener, desk) = (Arc::clone(self), Arc::clone(desk));
        questions.spawn(async move {
            let answer = match datagram.length {
                Length::Cut => desk.refuse_oversized(&datagram.message),
                Length::Whole => {
                    let port = listener.local_address().map_or(0, |address| address.port());
                    let local = SocketAddr::new(datagram.local, port);
                    let asker = Asker {
                        protocol: TransportProtocol::Udp,
                        client: datagram.client,
                        local,
                    };
                    desk.answer(asker, &datagram.message).await
                }
            };
            if let Some(answer) = answer
                && let Err(error) = listener.reply(&datagram, &answer).await
            {
                tracing::debug!(%error, "an answer could not be sent");
            }
            drop(permit);
        });
    }

    async fn receive(&self) -> io::Result<Datagram> {
        self.socket
            .async_io(Interest::READABLE, || receive_from(&self.socket))
            .await
    }

    async fn reply(&self, datagram: &Datagram, answer: &[u8]) -> io::Result<()> {
        self.socket
            .async_io(Interest::WRITABLE, || {
                send_from(&self.socket, datagram, answer)
            })
            .await
    }
}

fn receive_from(socket: &UdpSocket) -> io::Result<Datagram> {
    let mut buffer = vec![0; LONGEST_QUERY];
    let mut control = cmsg_space!(in_pktinfo, in6_pktinfo);
    let (client, local, interface, length, bytes) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let received =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
        let (local, interface) = received
            .cmsgs()?
            .find_map(|message| destination(&message))
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let client = received.address.as_ref().and_then(address_of);
        let client = client.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let cut = received.flags.contains(MsgFlags::MSG_TRUNC);
        (
            client,
            local,
            interface,
            if cut { Length::Cut } else { Length::Whole },
            received.bytes,
        )
    };
    buffer.truncate(bytes);
    Ok(Datagram {
        client,
        local,
        interface,
        message: buffer,
        length,
    })
}

fn destination(message: &ControlMessageOwned) -> Option<(IpAddr, u32)> {
    match message {
        // The address in the packet's header, in network order; the interface is not needed back.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some((Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into(), 0))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // Only a link-local address needs its interface.
            let interface = if address.is_unicast_link_local() {
                info.ipi6_ifindex
            } else {
                0
            };
            Some((address.into(), interface))
        }
        _ => None,
    }
}

fn address_of(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| {
        storage
            .as_sockaddr_in6()
            .map(|address| SocketAddr::V6((*address).into()))
    })
}

fn send_from(socket: &UdpSocket, datagram: &Datagram, answer: &[u8]) -> io::Result<()> {
    let slices = [IoSlice::new(answer)];
    let client = SockaddrStorage::from(datagram.client);
    let (v4, v6);
    let control = match datagram.local {
        IpAddr::V4(address) => {
            let source = in_addr {
                s_addr: u32::from_ne_bytes(address.octets()),
            };
            v4 = in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: source,
                ipi_addr: in_addr { s_addr: 0 },
            };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(address) => {
            v6 = in6_pktinfo {
                ipi6_addr: in6_addr {
                    s6_addr: address.octets(),
                },
                ipi6_ifindex: datagram.interface,
            };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    sendmsg(
        socket.as_raw_fd(),
        &slices,
        &[control],
        MsgFlags::MSG_DONTWAIT,
        Some(&client),
    )?;
    Ok(())
}
