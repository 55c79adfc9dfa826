//! The library's UDP socket, bound with patience and watched for errors.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use gotatun::{
    packet::{Packet, PacketBufPool},
    udp::{
        UdpRecv, UdpTransportFactory, UdpTransportFactoryParams,
        socket::{UdpSocket, UdpSocketFactory},
    },
};
use nix::errno::Errno;

use crate::health::{TransportFault, TransportHealth};

/// Bursts of a whole tunnel arrive on one socket; the kernel's default of 208 KiB drops them.
/// The kernel cuts this to `net.core.rmem_max` and `wmem_max`.
const SOCKET_BUFFER: usize = 4 << 20;

const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Makes one dual-stack socket on `[::]`, or an IPv4 one where the kernel has no IPv6, with
/// `SO_MARK` set before the bind.
pub(crate) struct Udp {
    factory: UdpSocketFactory,
    health: TransportHealth,
}

impl Udp {
    pub(crate) fn new(health: TransportHealth) -> Self {
        Self {
            factory: UdpSocketFactory {
                recv_buffer_size: Some(SOCKET_BUFFER),
                send_buffer_size: Some(SOCKET_BUFFER),
            },
            health,
        }
    }

    /// Binds, and waits while the port is in use.
    ///
    /// At a change of key, port or mark the library binds the new socket before the tasks that
    /// hold the old one have ended, and the kernel answers EADDRINUSE for a moment (a
    /// `fwmark=` sent to a device in use showed it).
    async fn bind_patiently(
        &mut self,
        params: &UdpTransportFactoryParams,
    ) -> io::Result<(UdpSocket, UdpSocket)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.factory.bind(params).await {
                Err(error) if in_use(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                bound => return bound,
            }
        }
    }
}

fn in_use(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EADDRINUSE as i32)
}

impl UdpTransportFactory for Udp {
    type Send = UdpSocket;
    type Recv = WatchedUdp;

    async fn bind(
        &mut self,
        params: &UdpTransportFactoryParams,
    ) -> io::Result<(UdpSocket, WatchedUdp)> {
        match self.bind_patiently(params).await {
            Ok((sender, socket)) => {
                let health = self.health.clone();
                Ok((sender, WatchedUdp { socket, health }))
            }
            Err(error) => {
                // The library keeps the new port and mark although nothing is bound, and would
                // answer the next request for them with success; the device has to be made anew.
                let errno = error.raw_os_error().unwrap_or(Errno::EIO as i32);
                self.health.note(TransportFault::Bind(errno));
                Err(error)
            }
        }
    }
}

/// A socket that reports when it can receive no more.
pub(crate) struct WatchedUdp {
    socket: UdpSocket,
    health: TransportHealth,
}

impl UdpRecv for WatchedUdp {
    type RecvManyBuf = <UdpSocket as UdpRecv>::RecvManyBuf;

    async fn recv_from(&mut self, pool: &mut PacketBufPool) -> io::Result<(Packet, SocketAddr)> {
        let received = self.socket.recv_from(pool).await;
        received.inspect_err(|_| self.health.note(TransportFault::Udp))
    }

    async fn recv_many_from(
        &mut self,
        buffer: &mut Self::RecvManyBuf,
        pool: &mut PacketBufPool,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        let received = self.socket.recv_many_from(buffer, pool, packets).await;
        received.inspect_err(|_| self.health.note(TransportFault::Udp))
    }

    fn enable_udp_gro(&self) -> io::Result<()> {
        UdpRecv::enable_udp_gro(&self.socket)
    }
}
