//! What can fail, one variant per act.

use std::{io, path::PathBuf};

/// An act on the folders shared with the agent that failed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A folder could not be made.
    #[error("cannot make the folder {}", path.display())]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The mode of a folder could not be set.
    #[error("cannot restrict the folder {} to its owner", path.display())]
    Restrict {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The requests could not be listed.
    #[error("cannot list the requests in {}", path.display())]
    List {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The folder could not be watched.
    #[error("cannot watch {}", path.display())]
    Watch {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Why a tunnel is not being served at the moment. Every one of them is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The agent has not made the TUN yet, or has deleted it.
    #[error("there is no interface of that name")]
    Absent,
    /// The TUN was deleted, or deleted and made again, since it was looked up.
    #[error("the interface was replaced")]
    Replaced,
    /// Somebody else has the TUN open: as a rule our predecessor, which is about to end.
    #[error("another process has the interface open")]
    Busy,
    /// The TUN could not be opened.
    #[error("cannot open the interface as a TUN")]
    Open {
        #[source]
        source: io::Error,
    },
    /// The MTU of the TUN could not be read.
    #[error("cannot read the interface's MTU")]
    Mtu {
        #[source]
        source: io::Error,
    },
    /// What a predecessor left in the socket's place could not be removed.
    #[error("cannot remove the stale socket {}", path.display())]
    StaleSocket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The configuration socket could not be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A connection on the configuration socket could not be taken.
    #[error("cannot accept a connection on the configuration socket")]
    Accept {
        #[source]
        source: io::Error,
    },
    /// The WireGuard device could not be built.
    #[error("cannot build the WireGuard device")]
    Build {
        #[source]
        source: gotatun::device::Error,
    },
    /// The TUN was deleted under the device.
    #[error("the interface was deleted")]
    TunLost,
    /// The UDP socket of the device can receive no more.
    #[error("the UDP socket can receive no more")]
    UdpLost,
    /// The port that a client asked for could not be bound.
    #[error("the UDP port cannot be bound")]
    Bind {
        #[source]
        source: io::Error,
    },
}
