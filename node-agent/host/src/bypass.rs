//! What leads packets past netfilter.

use std::fmt;

/// Which packets of a link something looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Those that come from the link, before netfilter.
    Ingress,
    /// Those that leave by the link, after netfilter: on a port of a bridge also those that came by another port.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// What leads packets of a link past netfilter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bypass {
    /// An action `mirred ... redirect` of tc: packets go to another device.
    Redirect { direction: Direction, to: String },
    /// An action `mirred ... mirror` of tc: copies of packets go to another device.
    Mirror { direction: Direction, to: String },
    /// A BPF program of tc, which may do anything.
    Program {
        direction: Direction,
        /// The program's name; empty where it has none.
        name: String,
    },
    /// A BPF program that was attached by `bpf(2)` itself, which may do anything.
    Tcx {
        direction: Direction,
        /// The program's name; empty where it has none, or where we may not ask for it.
        name: String,
    },
    /// An XDP program, which may do anything.
    Xdp,
    /// Another interface of the pod, which is in front of nothing that the guard sees: of Multus, SR-IOV, or moved there.
    SecondInterface { name: String },
    /// A link of kind `netkit`: made to carry BPF programs, which netlink does not list.
    Netkit,
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirect { direction, to } => write!(f, "tc redirects its {direction} to {to}"),
            Self::Mirror { direction, to } => write!(f, "tc mirrors its {direction} to {to}"),
            Self::Program { direction, name } if name.is_empty() => {
                write!(f, "a BPF program is at its tc {direction}")
            }
            Self::Program { direction, name } => {
                write!(f, "the BPF program {name} is at its tc {direction}")
            }
            Self::Tcx { direction, name } if name.is_empty() => {
                write!(f, "a BPF program is at its tcx {direction}")
            }
            Self::Tcx { direction, name } => {
                write!(f, "the BPF program {name} is at its tcx {direction}")
            }
            Self::Xdp => f.write_str("it has an XDP program"),
            Self::SecondInterface { name } => write!(f, "the pod has another interface, {name}"),
            Self::Netkit => f.write_str("it is a netkit device, made for BPF programs"),
        }
    }
}
