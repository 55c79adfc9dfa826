//! nft's language. One line a rule, so that an error of nft points to it.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::model::{
    Base, BaseKind, Hook, KeyType, Otherwise, Set, SetFlag, TABLE, Table, TableFamily, ValueType,
};
use super::rule::{Counter, Field, Match, Operand, Rule, Target};
use crate::host::Family;

const fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Saddr(family) => return write!(f, "{} saddr", ip(*family)),
            Self::Daddr(family) => return write!(f, "{} daddr", ip(*family)),
            Self::Mark(mask) => return write!(f, "meta mark & {mask:#x}"),
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
            Self::Continue => Ok(()),
        }
    }
}

impl fmt::Display for Rule {
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

impl Rule {
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

impl Set {
    /// `type ...` or `typeof ...` with flags, as nft wants it between braces.
    #[must_use]
    pub fn declaration(&self) -> String {
        let raw = self.key.contains(&KeyType::NeighbourTarget);
        let parts: Vec<&str> = self
            .key
            .iter()
            .map(|part| if raw { part.expression() } else { part.word() })
            .collect();
        let mut out = format!(
            "{} {}",
            if raw { "typeof" } else { "type" },
            parts.join(" . ")
        );
        if let Some(value) = self.value {
            out.push_str(match value {
                ValueType::Verdict => " : verdict",
                ValueType::Ipv4 => " : ipv4_addr",
                ValueType::Ipv6 => " : ipv6_addr",
            });
        }
        out.push(';');
        match self.flag {
            Some(SetFlag::Interval) => out.push_str(" flags interval;"),
            Some(SetFlag::Timeout) => out.push_str(" flags timeout;"),
            None => {}
        }
        out
    }

    const fn noun(&self) -> &'static str {
        if self.value.is_some() { "map" } else { "set" }
    }
}

impl KeyType {
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

/// Lines of nft's language that build up to the table; the caller decides what stands before them.
pub(crate) struct Lines {
    prefix: String,
    out: String,
}

impl Lines {
    pub(crate) fn new(family: TableFamily) -> Self {
        Self {
            prefix: format!("{} {TABLE}", family.word()),
            out: String::new(),
        }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn line(&mut self, verb: &str, noun: &str, rest: &str) {
        let space = if rest.is_empty() { "" } else { " " };
        self.out
            .push_str(&format!("{verb} {noun} {}{space}{rest}\n", self.prefix));
    }

    pub(crate) fn table(&mut self, verb: &str) {
        self.line(verb, "table", "");
    }

    pub(crate) fn counter(&mut self, verb: &str, Counter(name): Counter) {
        self.line(verb, "counter", name);
    }

    pub(crate) fn set(&mut self, name: &str, set: &Set) {
        self.line(
            "add",
            set.noun(),
            &format!("{name} {{ {} }}", set.declaration()),
        );
    }

    pub(crate) fn delete_set(&mut self, name: &str, noun: &str) {
        self.line("delete", noun, name);
    }

    pub(crate) fn flush_set(&mut self, name: &str, set: &Set) {
        self.line("flush", set.noun(), name);
    }

    pub(crate) fn delete_counter(&mut self, name: &str) {
        self.line("delete", "counter", name);
    }

    pub(crate) fn chain(&mut self, name: &str, base: Option<Base>) {
        match base {
            Some(base) => self.line("add", "chain", &format!("{name} {{ {} }}", base.words())),
            None => self.line("add", "chain", name),
        }
    }

    pub(crate) fn chain_verb(&mut self, verb: &str, name: &str) {
        self.line(verb, "chain", name);
    }

    pub(crate) fn rule(&mut self, chain: &str, rule: &Rule) {
        self.line(
            "add",
            "rule",
            &format!("{chain} {rule} comment \"{}\"", rule.identity()),
        );
    }

    /// One element a line: nft echoes the whole line of an error.
    pub(crate) fn element(&mut self, verb: &str, set: &str, element: &str) {
        self.line(verb, "element", &format!("{set} {{ {element} }}"));
    }

    /// Many elements in few lines, for whole tables.
    pub(crate) fn elements<'a>(
        &mut self,
        verb: &str,
        set: &str,
        elements: impl Iterator<Item = &'a super::Element>,
    ) {
        let all: Vec<String> = elements.map(ToString::to_string).collect();
        for some in all.chunks(64) {
            self.element(verb, set, &some.join(", "));
        }
    }

    pub(crate) fn whole(&mut self, table: &Table) {
        for counter in &table.counters {
            self.counter("add", *counter);
        }
        for (name, set) in &table.sets {
            self.set(name, set);
        }
        for (name, chain) in &table.chains {
            self.chain(name, chain.base);
        }
        for (name, chain) in &table.chains {
            for rule in &chain.rules {
                self.rule(name, rule);
            }
        }
        for (name, set) in &table.sets {
            self.elements("add", name, set.elements.iter());
        }
    }
}
