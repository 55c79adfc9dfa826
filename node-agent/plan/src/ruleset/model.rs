//! Tables, chains and sets.

use std::collections::{BTreeMap, BTreeSet};

use super::element::{Data, Element};
use super::limit::LimitMeasure;
use super::rule::{Counter, FirewallRule, Target};

/// The name of each of our tables.
pub const TABLE: &str = "postern";

/// Which family a table judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet,
    Bridge,
    /// ARP of the node itself.
    Arp,
}

impl TableFamily {
    /// As nft says it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
            Self::Arp => "arp",
        }
    }
}

/// Everything of ours in the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    /// `table inet postern`: guard, steering, translation, exit side.
    pub inet: Table,
    /// `table bridge postern`: the source binding.
    pub bridge: Table,
    /// `table arp postern`: silence about tunnel addresses.
    pub arp: Table,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Named counters: they survive a change of the rules that use them.
    pub counters: BTreeSet<Counter>,
    /// Counters of what single rules refuse: those of administrators, and those of policies that only observe and would refuse it.
    pub rule_counters: BTreeSet<String>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
    pub chains: BTreeMap<String, Chain>,
}

/// What a base chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BaseKind {
    /// `type filter`.
    Filter,
    /// `type nat`: sees the first packet of a connection.
    Nat,
}

/// Where a base chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Before the routing decision.
    Prerouting,
    /// To a local socket.
    Input,
    Forward,
    /// From a local socket.
    Output,
    /// After the routing decision.
    Postrouting,
}

/// What becomes of a packet that no rule of a base chain judges: nft's `policy` of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Otherwise {
    /// It goes on. Every chain of ours says so: what we do not own, we do not judge.
    Accept,
    /// It is dropped: somebody changed the chain.
    Drop,
}

/// Kind, hook and priority of a base chain, and what it does with what no rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base {
    pub kind: BaseKind,
    pub hook: Hook,
    /// Lower comes first. At equal priority the chain that registered last comes first, so never equal to others'.
    pub priority: i32,
    /// For what no rule judges. It can be changed in place; kind, hook and priority cannot.
    pub otherwise: Otherwise,
}

impl Base {
    /// Is it the same place, whatever becomes of what no rule judges?
    #[must_use]
    pub fn stands_like(&self, other: &Self) -> bool {
        (self.kind, self.hook, self.priority) == (other.kind, other.hook, other.priority)
    }
}

/// What a chain or an element lets through that the guard would hold without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Opening {
    /// What the other rules let through.
    #[default]
    Nothing,
    /// Everything that the node itself would let through.
    Released,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// None: it is only jumped to.
    pub base: Option<Base>,
    pub rules: Vec<FirewallRule>,
    /// What an element that leads to the chain opens.
    pub opening: Opening,
}

/// One part of a set's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyType {
    /// `ipv4_addr`.
    Ipv4,
    /// `ipv6_addr`.
    Ipv6,
    /// `ifname`.
    IfName,
    /// `ether_addr`.
    Ether,
    /// `inet_proto`.
    Protocol,
    /// `inet_service`.
    Port,
    /// `nf_proto`.
    Family,
    /// 128 bits of the transport header from bit 64 on: the target address of neighbour discovery (RFC 4861, 4.3).
    NeighbourTarget,
    /// `ct id`.
    Connection,
}

/// What a map's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueType {
    Verdict,
    /// `ipv4_addr`.
    Ipv4,
    /// `ipv6_addr`.
    Ipv6,
}

/// What a set can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetFlag {
    /// Prefixes, ranges and wildcards.
    Interval,
    /// Elements go by themselves.
    Timeout,
}

/// How a set is declared. The kernel cannot change it: a set of another type is deleted and made anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetType {
    pub key: Vec<KeyType>,
    /// What the key leads to; only maps have it.
    pub value: Option<ValueType>,
    /// At most one is needed here.
    pub flag: Option<SetFlag>,
    /// How many elements the kernel takes at most, for sets that grow while the agent does not look.
    pub size: Option<u32>,
}

impl SetType {
    /// The kernel deletes elements of such a set by itself, or packets add them, so they are not compared: the lease is renewed, not
    /// repaired.
    #[must_use]
    pub fn changes_by_itself(&self) -> bool {
        self.flag == Some(SetFlag::Timeout) || self.size.is_some()
    }
}

/// Addresses that the names of one rule may have at a time, in one family; and sources that a limit counts.
const GRANTS_OF_A_SET: u32 = 65_536;

/// Connections that one scope keeps: as many as the kernel itself tracks by default on a large machine (`nf_conntrack_max`).
const CONNECTIONS_OF_A_SCOPE: u32 = 262_144;

/// A set, or a map where its type has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    pub set_type: SetType,
    pub elements: BTreeSet<Element>,
}

impl Set {
    fn declared(
        key: impl Into<Vec<KeyType>>,
        value: Option<ValueType>,
        flag: Option<SetFlag>,
    ) -> Self {
        let key = key.into();
        Self {
            set_type: SetType {
                key,
                value,
                flag,
                size: None,
            },
            elements: BTreeSet::new(),
        }
    }

    #[must_use]
    pub fn of(key: impl Into<Vec<KeyType>>) -> Self {
        Self::declared(key, None, None)
    }

    /// An empty set of intervals.
    #[must_use]
    pub fn intervals(key: KeyType) -> Self {
        Self::declared([key], None, Some(SetFlag::Interval))
    }

    /// An empty set whose elements have a timeout.
    #[must_use]
    pub fn expiring(key: KeyType) -> Self {
        Self::declared([key], None, Some(SetFlag::Timeout))
    }

    /// An empty set of addresses that come and go at run time, by the agent or by packets. No plan names its elements.
    #[must_use]
    pub fn granted(key: KeyType) -> Self {
        let mut set = Self::expiring(key);
        set.set_type.size = Some(GRANTS_OF_A_SET);
        set
    }

    /// An empty set of the sources that a limit counts. Packets add its elements.
    #[must_use]
    pub fn limiting(key: KeyType, measure: LimitMeasure) -> Self {
        match measure {
            LimitMeasure::Connections => {
                let mut set = Self::of([key]);
                set.set_type.size = Some(GRANTS_OF_A_SET);
                set
            }
            LimitMeasure::NewConnections | LimitMeasure::Packets | LimitMeasure::Bytes => {
                Self::granted(key)
            }
        }
    }

    /// An empty set of connections that packets fill. No plan names its elements.
    #[must_use]
    pub fn connections() -> Self {
        let mut set = Self::expiring(KeyType::Connection);
        set.set_type.size = Some(CONNECTIONS_OF_A_SCOPE);
        set
    }

    #[must_use]
    pub fn map(key: impl Into<Vec<KeyType>>, value: ValueType) -> Self {
        Self::declared(key, Some(value), None)
    }

    /// The set with these elements.
    #[must_use]
    pub fn with(mut self, elements: impl IntoIterator<Item = Element>) -> Self {
        self.elements.extend(elements);
        self
    }
}

impl Table {
    /// The names of all counters.
    pub fn counter_names(&self) -> impl Iterator<Item = &str> {
        let own = self.counters.iter().map(|counter| counter.0);
        own.chain(self.rule_counters.iter().map(String::as_str))
    }

    /// What an element of one of the table's maps opens: what the chain opens that it leads to.
    #[must_use]
    pub fn opening(&self, element: &Element) -> Opening {
        let chain = match &element.data {
            Some(Data::Verdict(Target::Goto(chain) | Target::Jump(chain))) => {
                self.chains.get(chain)
            }
            _ => None,
        };
        chain.map(|chain| chain.opening).unwrap_or_default()
    }
}

impl Ruleset {
    /// The table of a family.
    #[must_use]
    pub const fn table(&self, family: TableFamily) -> &Table {
        match family {
            TableFamily::Inet => &self.inet,
            TableFamily::Bridge => &self.bridge,
            TableFamily::Arp => &self.arp,
        }
    }
}
