//! Newtypes of the intent. Each refuses what breaks its rule when it is parsed, so that nothing behind the parser
//! has to ask again.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An address of either family.
pub type Address = IpAddr;

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NewtypeError {
    /// The name breaks the rule of its kind.
    #[error("{kind} {value:?} must match {rule}")]
    Name {
        /// What kind of name it is.
        kind: &'static str,
        value: String,
        /// The rule in words.
        rule: &'static str,
    },
    /// A mark is a number from 1 to 7: three bits, and 0 means unmarked.
    #[error("mark {0} is not in 1..=7")]
    Mark(u8),
    /// The text is no prefix in CIDR notation.
    #[error("{0:?} is not a prefix such as 10.0.0.0/8 or fd00::/8")]
    Prefix(String),
    /// The prefix has bits behind its length.
    #[error("prefix {given} has host bits; write {masked}")]
    HostBits {
        /// As it was written.
        given: String,
        /// As it should be written.
        masked: String,
    },
    /// The text is not the base64 of a usable Curve25519 public key.
    #[error("{0:?} is not the base64 of a usable 32 byte X25519 public key")]
    WgKey(String),
    /// Tables of this range belong to the kernel (RTNETLINK(7): 253 default, 254 main, 255 local).
    #[error("routing table {0} is reserved")]
    Table(u32),
}

fn label(value: &str, limit: usize, extra: &[u8]) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = value.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= limit
        && bytes.iter().all(|b| edge(*b) || extra.contains(b))
        && bytes.first().is_some_and(|b| edge(*b))
        && bytes.last().is_some_and(|b| edge(*b))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NewtypeError;
            fn try_from(value: String) -> Result<Self, NewtypeError> {
                let check: fn(&str) -> bool = $check;
                if check(&value) { Ok(Self(value)) } else { Err(NewtypeError::Name { kind: $kind, value, rule: $rule }) }
            }
        }

        impl FromStr for $name {
            type Err = NewtypeError;
            fn from_str(value: &str) -> Result<Self, NewtypeError> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A Kubernetes node name: a DNS subdomain (RFC 1123), for example `worker-1.example.org`.
    NodeName, "node name", "a DNS subdomain of at most 253 lower case letters, digits, '-' and '.'",
    |v| label(v, 253, b"-.")
);
name!(
    /// A namespace: a DNS label (RFC 1123), for example `crawlers`.
    Namespace, "namespace", "a DNS label of at most 63 lower case letters, digits and '-'",
    |v| label(v, 63, b"-")
);
name!(
    /// A pod's name: a DNS subdomain.
    PodName, "pod name", "a DNS subdomain of at most 253 characters",
    |v| label(v, 253, b"-.")
);
name!(
    /// An `ExitNode`'s name, for example `eu`.
    ExitName, "exit name", "a DNS subdomain of at most 253 characters",
    |v| label(v, 253, b"-.")
);
name!(
    /// A Kubernetes object UID. An RFC 4122 UUID in practice; static pods carry a hash, so only the alphabet is ruled.
    Uid, "UID", "1 to 64 letters, digits, '-' and '_'",
    |v| !v.is_empty() && v.len() <= 64 && v.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);
name!(
    /// A network interface's name: at most 15 bytes (IFNAMSIZ - 1), no '/' and no white space.
    IfName, "interface name", "1 to 15 letters, digits, '-', '_' and '.'",
    |v| !v.is_empty()
        && v.len() <= 15
        && v != "."
        && v != ".."
        && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
);
/// The name of the policy that the compiler makes in a namespace for the tier `Baseline` of ClusterEgressPolicy. No object has it: a
/// name of Kubernetes has no colon.
pub const BASELINE: &str = "tier:baseline";

name!(
    /// One policy-to-exit binding: `namespace/policy@exit`, or `namespace/policy@` where there is no exit.
    ScopeId, "scope", "namespace/policy@exit, at most 600 characters",
    |v| v.len() <= 600
        && v.split_once('/').is_some_and(|(namespace, rest)| label(namespace, 63, b"-")
            && rest.split_once('@').is_some_and(|(policy, exit)| (label(policy, 253, b"-.") || policy == BASELINE)
                && (exit.is_empty() || label(exit, 253, b"-."))))
);

impl ScopeId {
    /// The namespace and the name of the policy.
    #[must_use]
    pub fn policy(&self) -> (&str, &str) {
        let (namespace, rest) = self.as_str().split_once('/').unwrap_or_default();
        let (policy, _) = rest.split_once('@').unwrap_or_default();
        (namespace, policy)
    }
}

name!(
    /// The first 16 hex digits of a SHA-256 over a part of a body. Only its writer compares it with anything.
    SectionDigest, "digest", "16 lower case hex digits",
    |v| v.len() == 16 && v.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

impl SectionDigest {
    /// These bytes in hex.
    #[must_use]
    pub fn of_bytes(bytes: [u8; 8]) -> Self {
        Self(crate::hex(&bytes))
    }

    /// The digest of a section whose digest is not known yet.
    #[must_use]
    pub fn zero() -> Self {
        Self("0".repeat(16))
    }
}

pub type NodeUid = Uid;

/// The intent's own counter. It only grows, over deletion, reinstallation and restore.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Serial(pub u64);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number from 1 to 7 that the agent shifts under its fwmark mask: 1 to 5 are exits, 6 is [`Mark::MAIN`], 7 is
/// [`Mark::OWN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Mark(u8);

impl Mark {
    /// Inside traffic, replies, released pods, local exits and the node's uplink.
    pub const MAIN: Self = Self(6);
    /// Our own tunnel sockets, local output only.
    pub const OWN: Self = Self(7);
    /// The marks that can be given to exits.
    pub const EXITS: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The mark under `mask`, shifted to the mask's lowest bit.
    #[must_use]
    pub const fn under(self, mask: u32) -> u32 {
        ((self.0 as u32) << mask.trailing_zeros()) & mask
    }
}

impl TryFrom<u8> for Mark {
    type Error = NewtypeError;
    fn try_from(value: u8) -> Result<Self, NewtypeError> {
        if (1..=7).contains(&value) {
            Ok(Self(value))
        } else {
            Err(NewtypeError::Mark(value))
        }
    }
}

impl From<Mark> for u8 {
    fn from(mark: Mark) -> Self {
        mark.0
    }
}

/// A routing table's number, outside the kernel's own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct TableId(u32);

impl TableId {
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for TableId {
    type Error = NewtypeError;
    fn try_from(value: u32) -> Result<Self, NewtypeError> {
        if value == 0 || (253..=255).contains(&value) {
            Err(NewtypeError::Table(value))
        } else {
            Ok(Self(value))
        }
    }
}

impl From<TableId> for u32 {
    fn from(table: TableId) -> Self {
        table.0
    }
}

/// A prefix without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(IpNet);

impl Prefix {
    /// The prefix that holds one address only.
    #[must_use]
    pub fn host(address: Address) -> Self {
        Self(IpNet::from(address))
    }

    /// As the library's type.
    #[must_use]
    pub const fn net(&self) -> IpNet {
        self.0
    }

    /// Is it of IPv4?
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }

    /// Does it hold the address?
    #[must_use]
    pub fn contains(&self, address: &Address) -> bool {
        self.0.contains(address)
    }

    /// Do they have an address in common? Of two prefixes one holds the other, or they are disjoint.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }
}

impl From<IpNet> for Prefix {
    fn from(net: IpNet) -> Self {
        Self(net.trunc())
    }
}

impl FromStr for Prefix {
    type Err = NewtypeError;
    fn from_str(value: &str) -> Result<Self, NewtypeError> {
        let net: IpNet = value
            .parse()
            .map_err(|_| NewtypeError::Prefix(value.to_owned()))?;
        if net.trunc() == net {
            Ok(Self(net))
        } else {
            Err(NewtypeError::HostBits {
                given: value.to_owned(),
                masked: net.trunc().to_string(),
            })
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = NewtypeError;
    fn try_from(value: String) -> Result<Self, NewtypeError> {
        value.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A WireGuard (X25519) public key. Low-order points are refused: they make the shared secret a constant (RFC 7748,
/// section 6.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WgKey([u8; 32]);

/// The points of small order on Curve25519 and their non-canonical forms, little endian, top bit cleared.
const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    around_p(0xec),
    around_p(0xed),
    around_p(0xee),
];

const fn around_p(low: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = low;
    bytes[31] = 0x7f;
    bytes
}

impl WgKey {
    /// Takes the 32 bytes of a key.
    ///
    /// # Errors
    /// [`NewtypeError::WgKey`] for a point of low order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, NewtypeError> {
        let mut canonical = bytes;
        canonical[31] &= 0x7f;
        if LOW_ORDER.contains(&canonical) {
            Err(NewtypeError::WgKey(STANDARD.encode(bytes)))
        } else {
            Ok(Self(bytes))
        }
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for WgKey {
    type Err = NewtypeError;
    fn from_str(value: &str) -> Result<Self, NewtypeError> {
        let refused = || NewtypeError::WgKey(value.to_owned());
        let bytes = STANDARD.decode(value).map_err(|_| refused())?;
        Self::from_bytes(bytes.try_into().map_err(|_| refused())?)
    }
}

impl TryFrom<String> for WgKey {
    type Error = NewtypeError;
    fn try_from(value: String) -> Result<Self, NewtypeError> {
        value.parse()
    }
}

impl From<WgKey> for String {
    fn from(key: WgKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for WgKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for WgKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WgKey({self})")
    }
}
