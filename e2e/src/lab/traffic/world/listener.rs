//! Listening sockets of the world.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
    sockopt,
};

use crate::lab::LabError;

/// A listening socket of exactly one family, so that the IPv6 one does not take IPv4 clients as mapped addresses.
pub(crate) fn listener(address: SocketAddr) -> Result<TcpListener, LabError> {
    let act = || format!("listen on {address}");
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .map_err(LabError::system(act()))?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(LabError::system(act()))?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(LabError::system(act()))?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(LabError::system(act()))?;
    listen(&fd, Backlog::MAXCONN).map_err(LabError::system(act()))?;
    Ok(TcpListener::from(fd))
}
