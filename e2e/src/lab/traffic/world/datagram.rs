//! UDP that answers from the address it was asked at.
//!
//! A socket bound to all addresses would answer from the one that routing prefers; IP_PKTINFO (ip(7)) and its IPv6 twin
//! (RFC 3542) give the address that was asked, and set the one to answer from.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use crate::lab::LabError;

/// A UDP socket on one port of all addresses of one family.
pub(crate) struct Datagrams {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// One datagram: who sent it, and which address it was sent to.
pub(crate) struct Datagram<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
}

impl Datagrams {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, LabError> {
        let act = || format!("listen on {address} (UDP)");
        let family = if address.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(LabError::system(act()))?;
        if address.is_ipv4() {
            setsockopt(&fd, sockopt::Ipv4PacketInfo, &true).map_err(LabError::system(act()))?;
        } else {
            setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(LabError::system(act()))?;
            setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true).map_err(LabError::system(act()))?;
        }
        // Hundreds of pods may send at once; a lost answer would look like a lost packet.
        setsockopt(&fd, sockopt::RcvBufForce, &(8 << 20)).map_err(LabError::system(act()))?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(LabError::system(act()))?;
        Ok(Self {
            fd,
            buffer: vec![0; 65536],
        })
    }

    /// Waits for the next datagram and sends what the closure answers to it, if anything.
    pub(crate) fn answer(
        &mut self,
        respond: impl FnOnce(Datagram<'_>) -> Option<Vec<u8>>,
    ) -> Result<(), nix::Error> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo);
        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let message = recvmsg::<SockaddrStorage>(
            self.fd.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let (length, from) = (message.bytes, message.address);
        let to = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(IpAddr::V4(Ipv4Addr::from(
                info.ipi_addr.s_addr.to_ne_bytes(),
            ))),
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        let (Some(from), Some(to)) = (from.as_ref().and_then(internet), to) else {
            return Ok(());
        };
        let content = self.buffer.get(..length).unwrap_or_default();
        match respond(Datagram { content, from, to }) {
            Some(answer) => self.send(&answer, from, to),
            None => Ok(()),
        }
    }

    fn send(&self, answer: &[u8], to: SocketAddr, from: IpAddr) -> Result<(), nix::Error> {
        let (four, six);
        let control = match from {
            IpAddr::V4(address) => {
                let source = libc::in_addr {
                    s_addr: u32::from_ne_bytes(address.octets()),
                };
                four = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: source,
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                ControlMessage::Ipv4PacketInfo(&four)
            }
            IpAddr::V6(address) => {
                let source = libc::in6_addr {
                    s6_addr: address.octets(),
                };
                six = libc::in6_pktinfo {
                    ipi6_addr: source,
                    ipi6_ifindex: 0,
                };
                ControlMessage::Ipv6PacketInfo(&six)
            }
        };
        let target = SockaddrStorage::from(to);
        sendmsg(
            self.fd.as_raw_fd(),
            &[IoSlice::new(answer)],
            &[control],
            MsgFlags::empty(),
            Some(&target),
        )
        .map(drop)
    }
}

fn internet(address: &SockaddrStorage) -> Option<SocketAddr> {
    let four = address
        .as_sockaddr_in()
        .map(|four| SocketAddr::V4(SocketAddrV4::from(*four)));
    four.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|six| SocketAddr::V6(SocketAddrV6::from(*six)))
    })
}
