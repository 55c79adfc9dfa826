use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use postern_host::ports::TransportProtocol;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::answer::{Asker, Desk};
use super::counters::QuestionOutcome;
use super::limits::{ClientLimits, Permit};
use super::node::DnsNode;
use super::upstream::{read_message, write_message};

/// How long a connection may be idle (RFC 7766, section 6.2.3: of the order of a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// After an error of the listener itself, for example no free file descriptor.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 256;
/// Connections of one pod.
const PER_CLIENT: usize = 32;
/// Connections of all pods.
const TOTAL: usize = 512;
/// Connections that each pod may have whatever others have.
const KEPT: usize = 2;

/// A listener on all addresses of one family.
pub(super) struct ConnectionListener {
    listener: TcpListener,
    limits: ClientLimits,
}

impl ConnectionListener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(family, SockType::Stream, flags, None)?;
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
        }
        let socket = TcpSocket::from_std_stream(socket.into());
        // Connections of the agent before this one wait a minute for their last packets.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            listener: socket.listen(BACKLOG)?,
            limits: ClientLimits::new(PER_CLIENT, TOTAL, KEPT),
        })
    }

    /// Answers until it is dropped, each connection in a task of its own.
    pub(super) async fn serve<N: DnsNode>(self, desk: Arc<Desk<N>>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, client)) => self.take(stream, client, &desk, &mut connections),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "a connection was not served");
                },
            }
        }
    }

    fn take<N: DnsNode>(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        desk: &Arc<Desk<N>>,
        connections: &mut JoinSet<()>,
    ) {
        if !desk.knows(client) {
            return;
        }
        match self.limits.admit(client.ip()) {
            None => desk.counters.count(QuestionOutcome::Limited),
            Some(permit) => {
                let desk = Arc::clone(desk);
                connections.spawn(async move {
                    if let Err(error) = converse(stream, client, &desk, permit).await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
        }
    }
}

/// Questions one after the other, until the client closes or says nothing for a while.
async fn converse<N: DnsNode>(
    mut stream: TcpStream,
    client: SocketAddr,
    desk: &Desk<N>,
    _permit: Permit,
) -> io::Result<()> {
    let asker = Asker {
        protocol: TransportProtocol::Tcp,
        client,
        local: stream.local_addr()?,
    };
    while let Ok(message) = timeout(IDLE, read_message(&mut stream)).await {
        let Some(message) = message? else { break };
        let Some(_question) = desk.admit(client) else {
            break;
        };
        let Some(answer) = desk.answer(asker, &message).await else {
            break;
        };
        // A client that does not read holds its connection no longer than one that is idle.
        match timeout(IDLE, write_message(&mut stream, &answer)).await {
            Ok(written) => written?,
            Err(_) => break,
        }
    }
    Ok(())
}
