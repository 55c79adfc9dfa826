//! What can go wrong at the host: one variant for each act that failed, with what it was about. The cause is the
//! source; who prints the chain prints it once.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use ipnet::IpNet;
use postern_intent::{Address, IfName, WgKey};
use postern_plan::host::{KernelRoute, LockPolicy, RoutingRule};
use thiserror::Error;

/// Numbers of `errno(3)` that decisions here depend on, as on every Linux architecture that we build for.
pub mod errno {
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    /// No such route or policy.
    pub const ESRCH: i32 = 3;
    pub const EINTR: i32 = 4;
    pub const EAGAIN: i32 = 11;
    /// Not allowed: the device does not take the family.
    pub const EACCES: i32 = 13;
    /// No memory for it now.
    pub const ENOMEM: i32 = 12;
    /// The object is in use.
    pub const EBUSY: i32 = 16;
    /// It is there already.
    pub const EEXIST: i32 = 17;
    pub const ENODEV: i32 = 19;
    /// The request makes no sense to the kernel.
    pub const EINVAL: i32 = 22;
    /// The kernel has no such call.
    pub const ENOSYS: i32 = 38;
    /// The kernel was built without it.
    pub const EPROTONOSUPPORT: i32 = 93;
    /// The kernel does not do that.
    pub const EOPNOTSUPP: i32 = 95;
    /// The address family is not there.
    pub const EAFNOSUPPORT: i32 = 97;
    /// The address is not there.
    pub const EADDRNOTAVAIL: i32 = 99;
    /// The device is down.
    pub const ENETDOWN: i32 = 100;
    /// No buffer for it: events were lost.
    pub const ENOBUFS: i32 = 105;
    pub const ECONNREFUSED: i32 = 111;
}

/// What kind of failure it is: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// The kernel or the machine cannot do it: trying again is of no use.
    Unsupported,
    /// It may work in a moment.
    Transient,
    /// The host refused this request.
    Refused,
}

/// The answer of nft to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NftRefusal {
    /// Its first line with `Error`.
    pub error: String,
    /// The line of the batch that it points to, if it points to one.
    pub line: Option<String>,
}

/// What the kernel, a program or a process answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostCause {
    /// The kernel's error number.
    #[error("{}", io::Error::from_raw_os_error(*errno))]
    Errno {
        /// As in `errno(3)`, positive.
        errno: i32,
    },
    /// An input or output error without a number.
    #[error("{kind}")]
    Io { kind: io::ErrorKind },
    /// A program is not installed.
    #[error("the program {program} is not installed")]
    NoProgram { program: &'static str },
    /// No answer in time.
    #[error("no answer within {seconds} s")]
    TimedOut {
        /// How long it was waited for.
        seconds: u64,
    },
    /// nft refused the batch; the kernel has changed nothing.
    #[error("nft said {:?}{}", .0.error, .0.line.as_ref().map(|line| format!(" of {line:?}")).unwrap_or_default())]
    Nft(Box<NftRefusal>),
    /// The answer has not the form that it should have.
    #[error("the answer is not understood: {what}")]
    Answer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A device node is not there.
    #[error("there is no {path}")]
    NoDevice { path: &'static str },
    /// No process serves the device yet.
    #[error("nobody serves the device")]
    NotServed,
    /// There is no key for the device.
    #[error("there is no private key for the device")]
    NoKey,
}

impl HostCause {
    #[must_use]
    pub const fn errno(errno: i32) -> Self {
        Self::Errno { errno }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn nature(&self) -> Nature {
        match self {
            Self::Errno { errno } => nature_of(*errno),
            Self::NoProgram { .. } | Self::NoDevice { .. } => Nature::Unsupported,
            Self::Io { .. } | Self::TimedOut { .. } | Self::NotServed => Nature::Transient,
            Self::Nft(refusal) => nft_nature(&refusal.error),
            Self::Answer { .. } | Self::NoKey => Nature::Refused,
        }
    }
}

const fn nature_of(number: i32) -> Nature {
    match number {
        errno::EOPNOTSUPP | errno::EPROTONOSUPPORT | errno::EAFNOSUPPORT => Nature::Unsupported,
        errno::EINTR
        | errno::EAGAIN
        | errno::EBUSY
        | errno::ENOMEM
        | errno::ENOBUFS
        | errno::ECONNREFUSED => Nature::Transient,
        _ => Nature::Refused,
    }
}

/// nft gives the kernel's error as text only (`Error: Could not process rule: Device or resource busy`).
fn nft_nature(error: &str) -> Nature {
    let says = |texts: &[&str]| texts.iter().any(|text| error.contains(text));
    if says(&[
        "Operation not supported",
        "Protocol not supported",
        "Address family not supported",
    ]) {
        Nature::Unsupported
    } else if says(&[
        "Device or resource busy",
        "Resource temporarily unavailable",
        "Interrupted system call",
    ]) {
        Nature::Transient
    } else {
        Nature::Refused
    }
}

impl From<io::Error> for HostCause {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Errno { errno },
            None => Self::Io { kind: error.kind() },
        }
    }
}

/// An act on the host that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// No way to talk to the kernel.
    #[error("cannot open {socket}")]
    Open {
        socket: &'static str,
        source: HostCause,
    },
    /// Links could not be listed.
    #[error("cannot list links")]
    ListLinks { source: HostCause },
    /// A tunnel device could not be made.
    #[error("cannot add link {link}")]
    AddLink { link: IfName, source: HostCause },
    /// A device could not be removed.
    #[error("cannot remove link {link}")]
    RemoveLink { link: IfName, source: HostCause },
    /// An MTU could not be set.
    #[error("cannot set the MTU of {link} to {mtu}")]
    SetMtu {
        link: IfName,
        mtu: u32,
        source: HostCause,
    },
    /// A device could not be brought up or down.
    #[error("cannot change the state of {link}")]
    SetState { link: IfName, source: HostCause },
    /// An address could not be added.
    #[error("cannot add address {address} to {link}")]
    AddAddress {
        link: IfName,
        address: IpNet,
        source: HostCause,
    },
    /// An address could not be removed.
    #[error("cannot remove address {address} from {link}")]
    RemoveAddress {
        link: IfName,
        address: IpNet,
        source: HostCause,
    },
    /// Addresses could not be listed.
    #[error("cannot list addresses")]
    ListAddresses { source: HostCause },
    /// The neighbours of a device could not be asked for an address.
    #[error("cannot ask the neighbours of {link} for {address}")]
    AskNeighbours {
        link: IfName,
        address: Address,
        source: HostCause,
    },
    /// An address could not be announced.
    #[error("cannot announce {address} by {link}")]
    Announce {
        link: IfName,
        address: Address,
        source: HostCause,
    },
    /// A switch could not be read.
    #[error("cannot read {path}")]
    GetDevice { path: String, source: HostCause },
    /// A switch could not be set.
    #[error("cannot set {path} to {value}")]
    SetDevice {
        path: String,
        value: u8,
        source: HostCause,
    },
    /// Routes could not be listed.
    #[error("cannot list routes")]
    ListRoutes { source: HostCause },
    /// A route could not be added.
    #[error("cannot add the route to {} of table {}", .route.destination, .route.table)]
    AddRoute {
        route: Box<KernelRoute>,
        source: HostCause,
    },
    /// A route could not be removed.
    #[error("cannot remove the route to {} of table {}", .route.destination, .route.table)]
    RemoveRoute {
        route: Box<KernelRoute>,
        source: HostCause,
    },
    /// Rules could not be listed.
    #[error("cannot list routing rules")]
    ListRules { source: HostCause },
    /// A rule could not be added.
    #[error("cannot add the routing rule {} to table {}", .rule.priority, .rule.table)]
    AddRule {
        rule: Box<RoutingRule>,
        source: HostCause,
    },
    /// A rule could not be removed.
    #[error("cannot remove the routing rule {} to table {}", .rule.priority, .rule.table)]
    RemoveRule {
        rule: Box<RoutingRule>,
        source: HostCause,
    },
    /// Locks could not be listed.
    #[error("cannot list XFRM policies")]
    ListLocks { source: HostCause },
    /// A lock could not be added.
    #[error("cannot add the XFRM policy {} -> {} at {}", .policy.source, .policy.destination, .policy.priority)]
    AddLock {
        policy: Box<LockPolicy>,
        source: HostCause,
    },
    /// A lock could not be replaced.
    #[error("cannot replace the XFRM policy {} -> {} by one at {}", .policy.source, .policy.destination, .policy.priority)]
    ReplaceLock {
        policy: Box<LockPolicy>,
        source: HostCause,
    },
    /// A lock could not be removed.
    #[error("cannot remove the XFRM policy {} -> {} at {}", .policy.source, .policy.destination, .policy.priority)]
    RemoveLock {
        policy: Box<LockPolicy>,
        source: HostCause,
    },
    /// The firewall took nothing of a batch.
    #[error("cannot change the firewall ({summary})")]
    ChangeFirewall { summary: String, source: HostCause },
    /// A table could not be read.
    #[error("cannot read table {table}")]
    ReadFirewall {
        table: &'static str,
        source: HostCause,
    },
    /// Connection tracking could not be listed.
    #[error("cannot list flows")]
    ListFlows { source: HostCause },
    /// Entries of connection tracking could not be listed or deleted.
    #[error("cannot cut flows ({} addresses among them)", .uncut.len())]
    CutFlows {
        /// Whose flows may go on.
        uncut: BTreeSet<Address>,
        source: HostCause,
    },
    /// An entry of connection tracking could not be asked for.
    #[error("cannot find the flow from {from} to {to}")]
    FindFlow {
        from: SocketAddr,
        to: SocketAddr,
        source: HostCause,
    },
    /// A tunnel did not answer properly.
    #[error("cannot read tunnel {link}")]
    ReadTunnel { link: IfName, source: HostCause },
    /// A tunnel did not take its configuration.
    #[error("cannot configure tunnel {link}")]
    ConfigureTunnel { link: IfName, source: HostCause },
    /// A peer could not be removed.
    #[error("cannot remove peer {peer} from tunnel {link}")]
    RemovePeer {
        link: IfName,
        peer: WgKey,
        source: HostCause,
    },
    /// The tunnel process could not be told to stop.
    #[error("cannot dismiss tunnel {link}")]
    DismissTunnel { link: IfName, source: HostCause },
    /// What leads past netfilter could not be read.
    #[error("cannot read what leads past netfilter")]
    ReadPaths { source: HostCause },
    /// Connections of TCP could not be listed.
    #[error("cannot list connections")]
    ListSessions { source: HostCause },
    /// Addresses and routes of a link could not be read.
    #[error("cannot read what goes with link {link}")]
    ReadLinkConfig { link: IfName, source: HostCause },
    /// Routes of a link could not be put back.
    #[error("cannot put back the routes of link {link}")]
    RestoreRoutes { link: IfName, source: HostCause },
    /// The kernel cannot be watched.
    #[error("cannot watch {group}")]
    Watch {
        group: &'static str,
        source: HostCause,
    },
}

impl HostError {
    #[must_use]
    pub const fn cause(&self) -> &HostCause {
        match self {
            Self::Open { source, .. }
            | Self::ListLinks { source }
            | Self::AddLink { source, .. }
            | Self::RemoveLink { source, .. }
            | Self::SetMtu { source, .. }
            | Self::SetState { source, .. }
            | Self::AddAddress { source, .. }
            | Self::RemoveAddress { source, .. }
            | Self::ListAddresses { source }
            | Self::AskNeighbours { source, .. }
            | Self::Announce { source, .. }
            | Self::GetDevice { source, .. }
            | Self::SetDevice { source, .. }
            | Self::ListRoutes { source }
            | Self::AddRoute { source, .. }
            | Self::RemoveRoute { source, .. }
            | Self::ListRules { source }
            | Self::AddRule { source, .. }
            | Self::RemoveRule { source, .. }
            | Self::ListLocks { source }
            | Self::AddLock { source, .. }
            | Self::ReplaceLock { source, .. }
            | Self::RemoveLock { source, .. }
            | Self::ChangeFirewall { source, .. }
            | Self::ReadFirewall { source, .. }
            | Self::ListFlows { source }
            | Self::CutFlows { source, .. }
            | Self::FindFlow { source, .. }
            | Self::ReadTunnel { source, .. }
            | Self::ConfigureTunnel { source, .. }
            | Self::RemovePeer { source, .. }
            | Self::DismissTunnel { source, .. }
            | Self::ReadPaths { source }
            | Self::ListSessions { source }
            | Self::ReadLinkConfig { source, .. }
            | Self::RestoreRoutes { source, .. }
            | Self::Watch { source, .. } => source,
        }
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn nature(&self) -> Nature {
        self.cause().nature()
    }

    /// The kernel's error number, where it gave one.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        match self.cause() {
            HostCause::Errno { errno } => Some(*errno),
            _ => None,
        }
    }
}
