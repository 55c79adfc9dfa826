use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// A socket for the pods' questions that could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// The socket for datagrams.
    #[error("cannot take questions over UDP on {address}")]
    Udp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The socket for connections.
    #[error("cannot take questions over TCP on {address}")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// An exchange with a resolver that gave no answer.
#[derive(Debug, Error)]
pub(super) enum ExchangeError {
    /// The socket could not be made with the exit's mark, device and address.
    #[error("cannot open a socket towards {resolver}")]
    Open {
        resolver: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The connection failed, or the resolver's host refused.
    #[error("cannot talk to {resolver}")]
    Talk {
        resolver: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Nothing came in time.
    #[error("{resolver} does not answer")]
    Silent { resolver: SocketAddr },
    /// What came over TCP is no answer to the question.
    #[error("{resolver} answers something else")]
    Foreign { resolver: SocketAddr },
}

impl ExchangeError {
    /// Is it the resolver that failed? What this node could not do, as without a route or a lease, is nothing about a resolver.
    pub(super) fn is_of_resolver(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Open { source, .. } | Self::Talk { source, .. } => {
                source.kind() == io::ErrorKind::ConnectionRefused
            }
            Self::Foreign { .. } => false,
        }
    }
}
