//! What sets and maps hold, in one normal form, so that what was written and what was read back compare.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use postern_intent::{Address, Prefix};

use super::rule::Target;
use crate::host::{Family, MacAddress};

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    Address(Address),
    /// A prefix shorter than an address, in an interval set.
    Prefix(Prefix),
    /// A range of addresses, both ends included, in an interval set.
    Range(Address, Address),
    /// An interface name, or a start with a trailing `*` in an interval set.
    Name(String),
    Mac(MacAddress),
    /// `tcp`, `udp`, `sctp`, `icmp`, `ipv6-icmp`.
    Protocol(String),
    Port(u16),
    Family(Family),
    /// The target address of neighbour discovery as a number.
    Number(u128),
}

impl Atom {
    /// A prefix, or the address where the prefix holds only one.
    #[must_use]
    pub fn prefix(prefix: Prefix) -> Self {
        match prefix.net() {
            IpNet::V4(net) if net.prefix_len() == 32 => Self::Address(Address::V4(net.addr())),
            IpNet::V6(net) if net.prefix_len() == 128 => Self::Address(Address::V6(net.addr())),
            _ => Self::Prefix(prefix),
        }
    }

    /// An IPv4 address.
    #[must_use]
    pub const fn v4(address: Ipv4Addr) -> Self {
        Self::Address(Address::V4(address))
    }

    /// An IPv6 address.
    #[must_use]
    pub const fn v6(address: Ipv6Addr) -> Self {
        Self::Address(Address::V6(address))
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Range(from, to) => write!(f, "{from}-{to}"),
            Self::Name(name) => write!(f, "\"{name}\""),
            Self::Mac(mac) => mac.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Family(Family::V4) => f.write_str("ipv4"),
            Self::Family(Family::V6) => f.write_str("ipv6"),
            Self::Number(number) => write!(f, "0x{number:032x}"),
        }
    }
}

/// What a map's key leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    Verdict(Target),
    Address(Address),
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(target) => target.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// An element of a set, or of a map where it has data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    pub key: Vec<Atom>,
    /// What it leads to.
    pub data: Option<Data>,
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub fn key(key: impl Into<Vec<Atom>>) -> Self {
        Self {
            key: key.into(),
            data: None,
        }
    }

    /// An element of a map.
    #[must_use]
    pub fn entry(key: impl Into<Vec<Atom>>, data: Data) -> Self {
        Self {
            key: key.into(),
            data: Some(data),
        }
    }
}

/// A key's parts as nft writes them.
pub(super) struct Key<'a>(pub(super) &'a [Atom]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, atom) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" . ")?;
            }
            atom.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Key(&self.key).fmt(f)?;
        match &self.data {
            Some(data) => write!(f, " : {data}"),
            None => Ok(()),
        }
    }
}
