//! What the agent starts.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use nix::errno::Errno;
use postern_plan::desired::DnsPlan;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::answer::Desk;
use super::check::{CheckWork, serve_checks};
use super::circuits::ResolverCircuits;
use super::counters::DnsCounters;
use super::error::BindError;
use super::node::DnsNode;
use super::own::NodeResolvers;
use super::tcp::ConnectionListener;
use super::udp::DatagramListener;

/// Settings of the forwarder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwarderOptions {
    /// The port to which the pods' questions are redirected, for UDP and TCP. 0: any, for tests.
    pub port: u16,
    /// Resolvers asked where neither scope nor question names one.
    pub own: NodeResolvers,
}

/// The forwarder with its sockets open.
pub struct Forwarder<N> {
    desk: Arc<Desk<N>>,
    datagrams: Vec<DatagramListener>,
    connections: Vec<ConnectionListener>,
}

impl<N: DnsNode> Forwarder<N> {
    /// Opens the sockets: both families, UDP and TCP. Where the kernel has no IPv6 there is one
    /// family. Who may ask what is read from `table` for each question.
    ///
    /// # Errors
    /// [`BindError`] when a socket cannot be opened.
    pub fn bind(
        options: ForwarderOptions,
        table: watch::Receiver<DnsPlan>,
        node: N,
        counters: DnsCounters,
        circuits: ResolverCircuits,
    ) -> Result<Self, BindError> {
        let mut datagrams = Vec::new();
        let mut connections = Vec::new();
        for address in addresses(options.port) {
            match DatagramListener::bind(address) {
                Ok(listener) => datagrams.push(listener),
                Err(error) if address.is_ipv6() && has_no_ipv6(&error) => continue,
                Err(source) => return Err(BindError::Udp { address, source }),
            }
            let listener = ConnectionListener::bind(address);
            connections.push(listener.map_err(|source| BindError::Tcp { address, source })?);
        }
        let desk = Desk::new(table, node, options.own, counters, circuits);
        Ok(Self {
            desk: Arc::new(desk),
            datagrams,
            connections,
        })
    }

    /// Answers until it is dropped; then every question that is open ends with it. Measures besides what is asked for.
    pub async fn run(self, checks: mpsc::Receiver<CheckWork>) {
        let Self {
            desk,
            datagrams,
            connections,
        } = self;
        let mut listeners = JoinSet::new();
        listeners.spawn(serve_checks(Arc::clone(&desk), checks));
        for listener in datagrams {
            listeners.spawn(listener.serve(Arc::clone(&desk)));
        }
        for listener in connections {
            listeners.spawn(listener.serve(Arc::clone(&desk)));
        }
        while let Some(ended) = listeners.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener of the forwarder ended");
            }
        }
    }
}

fn addresses(port: u16) -> [SocketAddr; 2] {
    [
        (Ipv4Addr::UNSPECIFIED, port).into(),
        (Ipv6Addr::UNSPECIFIED, port).into(),
    ]
}

fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
    )
}
