//! What a rule says: matches, at most one counter, one target.

use std::fmt;

use postern_intent::{Address, Prefix};

use super::limit::SourceLimit;
use super::literal::{Literal, Value};
use super::meaning::RuleMeaning;
use crate::host::{Family, MaskedMark};

/// A named counter: why something was dropped or let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter(pub &'static str);

/// What a match looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MatchField {
    /// `iifname`.
    Iif,
    /// `oifname`; never `oif`: the interface may be gone when the rule is loaded.
    Oif,
    Saddr(Family),
    Daddr(Family),
    /// `meta l4proto`.
    L4Proto,
    /// `th dport`: TCP, UDP and SCTP have it at the same place.
    Dport,
    /// `udp dport`.
    UdpDport,
    /// `tcp dport`.
    TcpDport,
    /// `sctp dport`.
    SctpDport,
    /// `udp sport`.
    UdpSport,
    /// `meta nfproto`.
    NfProto,
    /// `meta mark & mask`.
    Mark(u32),
    /// `ct state`.
    CtState,
    /// `ct direction`.
    CtDirection,
    /// `ct status`.
    CtStatus,
    /// `ct original saddr`.
    CtOriginalSaddr(Family),
    /// `ct original daddr`.
    CtOriginalDaddr(Family),
    /// `ct id`: the number of a connection, unique for as long as connection tracking knows the connection.
    CtId,
    /// `ip6 hoplimit`.
    HopLimit,
    /// `icmpv6 type`.
    Icmp6Type,
    /// `fib saddr type`.
    FibSaddrType,
    /// `ether saddr`.
    EtherSaddr,
    /// `ether type`.
    EtherType,
    /// `arp operation`.
    ArpOperation,
    /// `arp saddr ether`.
    ArpSaddrEther,
    /// `arp saddr ip`.
    ArpSaddrIp,
    /// `arp daddr ip`: the address that is asked for.
    ArpDaddrIp,
    /// 128 bits of the transport header from bit 64 on.
    NeighbourTarget,
    /// The first ten of them.
    NeighbourPrefix,
    /// `tcp flags syn / syn,rst`: has no operand.
    TcpSyn,
    /// `ct status ! confirmed`: has no operand.
    Unconfirmed,
    /// `ct expiration > 2m`: has no operand. Connection tracking remembers a TCP connection that begins or ends, UDP and ICMP for two
    /// minutes at most, if nobody changed its `nf_conntrack_*_timeout*`, and established TCP for five at least.
    Lasting,
    /// `ct expiration <= 2m`: has no operand.
    Ending,
    /// The set had no room for the connection: has no operand.
    Forgotten(String),
    /// The source is over its limit: has no operand, and counts the packet.
    Over(SourceLimit),
    /// More packets in a second than [`RECORDS_PER_SECOND`] met this rule: has no operand, and counts the packet.
    OverRecords,
}

/// How many packets of one [`Target::Record`] are recorded in a second; twice as many at once.
pub const RECORDS_PER_SECOND: u32 = 100;
/// The group of nflog to which records go: the agent reads it.
pub const RECORD_GROUP: u16 = 20_559;
/// How much of a packet is given to the agent, in bytes: the longest header of IPv4, or that of IPv6 with a few extensions, and
/// the ports behind it. No record has any of it but addresses, protocol, ports and length.
pub const RECORDED_BYTES: u16 = 96;

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    In(String),
    /// Not in a named set.
    NotIn(String),
    /// A value, or one of several.
    Is(Literal),
    /// Not this value, or none of several.
    Not(Literal),
    /// The field has no operand.
    Alone,
}

/// Fields, concatenated, and what they are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// One or more fields.
    pub fields: Vec<MatchField>,
    /// What they are compared with.
    pub operand: Operand,
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// It may pass this chain.
    Accept,
    /// It is gone, silently.
    Drop,
    /// Back to the calling chain.
    Return,
    /// On to a chain, without return.
    Goto(String),
    /// On to a chain, with return.
    Jump(String),
    /// A TCP reset to the sender.
    RejectReset,
    /// ICMP "administratively prohibited" to the sender.
    RejectProhibited,
    /// By source address through a verdict map.
    SaddrMap(Family, String),
    /// The mark under our mask is replaced; other bits stay.
    SetMark(MaskedMark),
    /// The mark under our mask is cleared; other bits stay.
    ClearMark(u32),
    /// Source NAT to the address of the outgoing interface.
    Masquerade,
    /// Source NAT to this address.
    Snat(Address),
    /// To a local port.
    Redirect(u16),
    /// TCP maximum segment size, in bytes.
    Mss(u16),
    /// The destination is put into this set, or stays there for longer. Where the set is full the rule ends here.
    Keep(Family, String),
    /// The connection is put into this set for so long, or stays there so long from now. Where the set is full the rule ends here.
    KeepFlow(String, FlowLifetime),
    /// A counter of this name counts the packet.
    Count(String),
    /// Tells the agent of the packet under this name, by nflog.
    Record(String),
    Continue,
}

/// How long a connection is remembered after its last packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowLifetime {
    /// One that [lasts](MatchField::Lasting). Longer than the two hours after which Linux sends a keepalive by default
    /// (`net.ipv4.tcp_keepalive_time`), so that an idle connection with keepalives stays.
    Lasting,
    /// Any other one. Longer than connection tracking remembers it.
    Ending,
}

impl FlowLifetime {
    /// As nft writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lasting => "3h",
            Self::Ending => "3m",
        }
    }
}

/// A rule. Two rules are equal if nft does the same with both.
#[derive(Debug, Clone)]
pub struct FirewallRule {
    pub matches: Vec<Match>,
    pub counter: Option<Counter>,
    pub target: Target,
    /// What it stands for; nft does not see it.
    pub meaning: Option<RuleMeaning>,
}

impl PartialEq for FirewallRule {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            matches,
            counter,
            target,
            meaning: _,
        } = self;
        (matches, counter, target) == (&other.matches, &other.counter, &other.target)
    }
}

impl Eq for FirewallRule {}

impl FirewallRule {
    /// A rule without matches.
    #[must_use]
    pub const fn to(target: Target) -> Self {
        Self {
            matches: Vec::new(),
            counter: None,
            target,
            meaning: None,
        }
    }

    /// With one more match.
    #[must_use]
    pub fn when(mut self, matched: Match) -> Self {
        self.matches.insert(0, matched);
        self
    }

    /// With what it stands for.
    #[must_use]
    pub const fn meaning(mut self, meaning: RuleMeaning) -> Self {
        self.meaning = Some(meaning);
        self
    }

    #[must_use]
    pub const fn counted(mut self, counter: Counter) -> Self {
        self.counter = Some(counter);
        self
    }
}

/// Goes on in a chain for good.
#[must_use]
pub fn goto(chain: impl Into<String>) -> Target {
    Target::Goto(chain.into())
}

/// Goes on in a chain and comes back.
#[must_use]
pub fn jump(chain: impl Into<String>) -> Target {
    Target::Jump(chain.into())
}

impl MatchField {
    /// The field is in the named set.
    #[must_use]
    pub fn within(self, set: impl Into<String>) -> Match {
        Match {
            fields: vec![self],
            operand: Operand::In(set.into()),
        }
    }

    /// The field is not in the named set.
    #[must_use]
    pub fn outside(self, set: impl Into<String>) -> Match {
        Match {
            fields: vec![self],
            operand: Operand::NotIn(set.into()),
        }
    }

    /// The field is this literal.
    #[must_use]
    pub fn is(self, literal: impl Into<Literal>) -> Match {
        Match {
            fields: vec![self],
            operand: Operand::Is(literal.into()),
        }
    }

    /// The field is not this literal.
    #[must_use]
    pub fn is_not(self, literal: impl Into<Literal>) -> Match {
        Match {
            fields: vec![self],
            operand: Operand::Not(literal.into()),
        }
    }

    /// An interface field is this name, or begins so where it ends in `*`.
    #[must_use]
    pub fn named(self, name: impl fmt::Display) -> Match {
        self.is(Value::Name(name.to_string()))
    }

    /// An interface field is not this name.
    #[must_use]
    pub fn not_named(self, name: impl fmt::Display) -> Match {
        self.is_not(Value::Name(name.to_string()))
    }

    /// The field is one of these prefixes.
    #[must_use]
    pub fn one_of(self, prefixes: &[Prefix]) -> Match {
        self.is(prefixes)
    }
}

/// A concatenation of fields is in a named set.
#[must_use]
pub fn together(fields: impl Into<Vec<MatchField>>, set: impl Into<String>) -> Match {
    Match {
        fields: fields.into(),
        operand: Operand::In(set.into()),
    }
}

/// A concatenation of fields is not in a named set.
#[must_use]
pub fn apart(fields: impl Into<Vec<MatchField>>, set: impl Into<String>) -> Match {
    Match {
        fields: fields.into(),
        operand: Operand::NotIn(set.into()),
    }
}

/// `tcp flags syn / syn,rst`.
#[must_use]
pub fn tcp_syn() -> Match {
    alone(MatchField::TcpSyn)
}

/// The packet's source is over the limit.
#[must_use]
pub fn over(limit: SourceLimit) -> Match {
    alone(MatchField::Over(limit))
}

/// A match of a field that has no operand.
#[must_use]
pub fn alone(field: MatchField) -> Match {
    Match {
        fields: vec![field],
        operand: Operand::Alone,
    }
}

/// `ct status ! confirmed`: no packet of the flow went through this node before.
#[must_use]
pub fn first_of_flow() -> Match {
    alone(MatchField::Unconfirmed)
}
