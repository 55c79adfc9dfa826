//! Commands, rules and declarations in nft's language; `element` and `literal` write their values. One line a rule, so that an error
//! of nft points to it.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::edit::{Edit, NftCommand};
use super::element::Key;
use super::limit::{LimitMeasure, SourceLimit};
use super::model::{Base, BaseKind, Hook, KeyType, Otherwise, SetFlag, SetType, TABLE, ValueType};
use super::rule::{
    Counter, FirewallRule, Match, MatchField, Operand, RECORD_GROUP, RECORDED_BYTES,
    RECORDS_PER_SECOND, Target,
};
use crate::host::Family;

const fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

impl fmt::Display for MatchField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Saddr(family) => return write!(f, "{} saddr", ip(*family)),
            Self::Daddr(family) => return write!(f, "{} daddr", ip(*family)),
            Self::Mark(mask) => return write!(f, "meta mark & {mask:#x}"),
            Self::CtId => "ct id",
            Self::CtOriginalSaddr(family) => return write!(f, "ct original {} saddr", ip(*family)),
            Self::CtOriginalDaddr(family) => return write!(f, "ct original {} daddr", ip(*family)),
            Self::Iif => "iifname",
            Self::Oif => "oifname",
            Self::L4Proto => "meta l4proto",
            Self::Dport => "th dport",
            Self::UdpDport => "udp dport",
            Self::TcpDport => "tcp dport",
            Self::SctpDport => "sctp dport",
            Self::UdpSport => "udp sport",
            Self::NfProto => "meta nfproto",
            Self::CtState => "ct state",
            Self::CtDirection => "ct direction",
            Self::CtStatus => "ct status",
            Self::HopLimit => "ip6 hoplimit",
            Self::Icmp6Type => "icmpv6 type",
            Self::FibSaddrType => "fib saddr type",
            Self::EtherSaddr => "ether saddr",
            Self::EtherType => "ether type",
            Self::ArpOperation => "arp operation",
            Self::ArpSaddrEther => "arp saddr ether",
            Self::ArpSaddrIp => "arp saddr ip",
            Self::ArpDaddrIp => "arp daddr ip",
            Self::NeighbourTarget => "@th,64,128",
            Self::NeighbourPrefix => "@th,64,10",
            Self::TcpSyn => "tcp flags syn / syn,rst",
            Self::Unconfirmed => "ct status ! confirmed",
            Self::Lasting => "ct expiration > 2m",
            Self::Ending => "ct expiration <= 2m",
            Self::Forgotten(set) => return write!(f, "ct id != @{set}"),
            Self::Over(limit) => return limit.fmt(f),
            Self::OverRecords => {
                let burst = RECORDS_PER_SECOND * 2;
                return write!(
                    f,
                    "limit rate over {RECORDS_PER_SECOND}/second burst {burst} packets"
                );
            }
        };
        f.write_str(word)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                f.write_str(" . ")?;
            }
            field.fmt(f)?;
        }
        match &self.operand {
            Operand::In(set) => write!(f, " @{set}"),
            Operand::NotIn(set) => write!(f, " != @{set}"),
            Operand::Is(literal) => write!(f, " {literal}"),
            Operand::Not(literal) => write!(f, " != {literal}"),
            Operand::Alone => Ok(()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::RejectReset => f.write_str("reject with tcp reset"),
            Self::RejectProhibited => f.write_str("reject with icmpx admin-prohibited"),
            Self::SaddrMap(family, map) => write!(f, "{} saddr vmap @{map}", ip(*family)),
            Self::SetMark(mark) => write!(
                f,
                "meta mark set meta mark & {:#010x} | {:#x}",
                !mark.mask, mark.value
            ),
            Self::ClearMark(mask) => write!(f, "meta mark set meta mark & {:#010x}", !mask),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Snat(address) => write!(f, "snat {} to {address}", ip(Family::of(address))),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::Mss(size) => write!(f, "tcp option maxseg size set {size}"),
            Self::Keep(family, set) => {
                write!(
                    f,
                    "update @{set} {{ {} daddr timeout {KEPT_FOR} }}",
                    ip(*family)
                )
            }
            Self::KeepFlow(set, lifetime) => {
                write!(f, "update @{set} {{ ct id timeout {} }}", lifetime.word())
            }
            Self::Count(counter) => write!(f, "counter name {counter}"),
            Self::Record(name) => write!(
                f,
                "log prefix \"{name}\" group {RECORD_GROUP} snaplen {RECORDED_BYTES}"
            ),
            Self::Continue => Ok(()),
        }
    }
}

/// How long the destination of an open connection is remembered after its last packet: as long as the kernel itself by default
/// keeps an idle TCP connection (`nf_conntrack_tcp_timeout_established`).
const KEPT_FOR: &str = "5d";

/// For how long the kernel remembers how much of a rate a silent source used. A source that sent nothing for a second has its
/// whole burst again, so that nothing is lost with the element.
const REMEMBERED: &str = "1m";

impl fmt::Display for SourceLimit {
    /// The set's element is made by the first packet. The kernel deletes it when the last of the counted connections ends, or when
    /// the source was silent for some time.
    ///
    /// The counter stands before the rate, so that it counts what is dropped too: the kernel does not show how much of a rate is left.
    ///
    /// A rate lets a burst of one second pass. The kernel adds a second's worth to the burst of bytes by itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            measure, most, set, ..
        } = self;
        let saddr = MatchField::Saddr(self.family);
        match measure {
            LimitMeasure::Connections => {
                write!(f, "add @{set} {{ {saddr} ct count over {most} }}")
            }
            LimitMeasure::NewConnections | LimitMeasure::Packets => write!(
                f,
                "update @{set} {{ {saddr} timeout {REMEMBERED} counter limit rate over {most}/second burst {most} packets }}"
            ),
            LimitMeasure::Bytes => write!(
                f,
                "update @{set} {{ {saddr} timeout {REMEMBERED} counter limit rate over {most} bytes/second }}"
            ),
        }
    }
}

impl fmt::Display for FirewallRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for matched in &self.matches {
            write!(f, "{matched} ")?;
        }
        if let Some(Counter(name)) = self.counter {
            write!(f, "counter name {name} ")?;
        }
        self.target.fmt(f)
    }
}

impl FirewallRule {
    /// What the rule carries as its comment in the kernel: the start of the SHA-256 of its text. A rule that somebody
    /// added has none, one that somebody removed is missed, one that somebody changed no longer fits the expressions
    /// that were seen when it was written.
    #[must_use]
    pub fn identity(&self) -> String {
        let digest = Sha256::digest(self.to_string().as_bytes());
        digest[..6]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Base {
    fn words(self) -> String {
        let kind = match self.kind {
            BaseKind::Filter => "filter",
            BaseKind::Nat => "nat",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        };
        let otherwise = match self.otherwise {
            Otherwise::Accept => "accept",
            Otherwise::Drop => "drop",
        };
        format!(
            "type {kind} hook {hook} priority {}; policy {otherwise};",
            self.priority
        )
    }
}

impl fmt::Display for SetType {
    /// `type ...` or `typeof ...` with flags, as nft wants it between braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.key.iter().any(|part| part.has_no_name());
        f.write_str(if raw { "typeof" } else { "type" })?;
        for (index, part) in self.key.iter().enumerate() {
            let separator = if index > 0 { " . " } else { " " };
            let part = if raw { part.expression() } else { part.word() };
            write!(f, "{separator}{part}")?;
        }
        f.write_str(match self.value {
            Some(ValueType::Verdict) => " : verdict;",
            Some(ValueType::Ipv4) => " : ipv4_addr;",
            Some(ValueType::Ipv6) => " : ipv6_addr;",
            None => ";",
        })?;
        f.write_str(match (self.flag, self.size) {
            (Some(SetFlag::Interval), _) => " flags interval;",
            (Some(SetFlag::Timeout), None) => " flags timeout;",
            // A rule updates such a set only where it is declared so.
            (Some(SetFlag::Timeout), Some(_)) => " flags dynamic,timeout;",
            (None, Some(_)) => " flags dynamic;",
            (None, None) => "",
        })?;
        match self.size {
            Some(size) => write!(f, " size {size};"),
            None => Ok(()),
        }
    }
}

impl SetType {
    const fn noun(&self) -> &'static str {
        if self.value.is_some() { "map" } else { "set" }
    }
}

impl KeyType {
    /// nft names no type for it, and takes the expression instead.
    const fn has_no_name(self) -> bool {
        matches!(self, Self::NeighbourTarget | Self::Connection)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4_addr",
            Self::Ipv6 => "ipv6_addr",
            Self::IfName => "ifname",
            Self::Ether => "ether_addr",
            Self::Protocol => "inet_proto",
            Self::Port => "inet_service",
            Self::Family => "nf_proto",
            Self::NeighbourTarget => "@th,64,128",
            Self::Connection => "ct id",
        }
    }

    const fn expression(self) -> &'static str {
        match self {
            Self::IfName => "iifname",
            Self::Ether => "ether saddr",
            other => other.word(),
        }
    }
}

/// How many elements one line holds at most. nft repeats the line of an error, so a line must not be the whole set.
const ELEMENTS_OF_A_LINE: usize = 64;

impl fmt::Display for Edit {
    /// The command in nft's language, a line each; elements are several lines where they are many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = format!("{} {TABLE}", self.family.word());
        match &self.command {
            NftCommand::AddTable => writeln!(f, "add table {table}"),
            NftCommand::DeleteTable => writeln!(f, "delete table {table}"),
            NftCommand::AddCounter { name } => writeln!(f, "add counter {table} {name}"),
            NftCommand::DeleteCounter { name } => writeln!(f, "delete counter {table} {name}"),
            NftCommand::AddSet { name, set_type } => {
                let noun = set_type.noun();
                writeln!(f, "add {noun} {table} {name} {{ {set_type} }}")
            }
            NftCommand::FlushSet { name, set_type } => {
                writeln!(f, "flush {} {table} {name}", set_type.noun())
            }
            // nft takes `delete set` for maps too.
            NftCommand::DeleteSet { name } => writeln!(f, "delete set {table} {name}"),
            NftCommand::AddChain { name, base: None } => writeln!(f, "add chain {table} {name}"),
            NftCommand::AddChain {
                name,
                base: Some(base),
            } => writeln!(f, "add chain {table} {name} {{ {} }}", base.words()),
            NftCommand::FlushChain { name } => writeln!(f, "flush chain {table} {name}"),
            NftCommand::DeleteChain { name } => writeln!(f, "delete chain {table} {name}"),
            NftCommand::AddRule { chain, rule } => {
                let identity = rule.identity();
                writeln!(f, "add rule {table} {chain} {rule} comment \"{identity}\"")
            }
            NftCommand::AddElements {
                set,
                elements,
                timeout,
                ..
            } => {
                let timeout = timeout.map(|seconds| format!(" timeout {seconds}s"));
                let timeout = timeout.unwrap_or_default();
                let elements = elements.iter().map(|element| format!("{element}{timeout}"));
                lines_of_elements(f, &format!("add element {table} {set}"), elements)
            }
            NftCommand::DeleteElements { set, keys } => {
                let keys = keys.iter().map(|key| Key(key).to_string());
                lines_of_elements(f, &format!("delete element {table} {set}"), keys)
            }
        }
    }
}

fn lines_of_elements(
    f: &mut fmt::Formatter<'_>,
    command: &str,
    elements: impl Iterator<Item = String>,
) -> fmt::Result {
    let elements: Vec<String> = elements.collect();
    let mut lines = elements.chunks(ELEMENTS_OF_A_LINE);
    lines.try_for_each(|line| writeln!(f, "{command} {{ {} }}", line.join(", ")))
}
