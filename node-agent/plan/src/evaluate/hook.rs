//! One hook: its base chains in the order of their priority, jumps and verdicts.

use std::collections::{BTreeMap, BTreeSet};

use super::matching::{Expiring, FieldValue, Grants, KeptFlows, Leases, MatchSubject, find, holds};
use super::packet::{CtDirection, CtState, Frame, Packet};
use crate::host::Family;
use crate::ruleset::{
    Base, BaseKind, Chain, Counter, Data, FirewallRule, Hook, Otherwise, RuleMeaning, Ruleset,
    Table, Target,
};
use postern_intent::Address;

/// What becomes of a packet at a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Passes,
    /// It is gone, silently.
    Dropped,
    /// The packet is refused: it is dropped, and the sender gets a reset or an ICMP error.
    Rejected,
}

/// A rule that decided or changed something, by where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub hook: Hook,
    pub chain: String,
    /// The rule, from 0; none: the chain's policy.
    pub rule: Option<usize>,
    /// The rule in nft's language.
    pub text: String,
    /// What counts what the rule matches.
    pub counter: Option<Counter>,
    /// What the rule stands for.
    pub meaning: Option<RuleMeaning>,
}

/// What a hook does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookOutcome {
    /// What becomes of it.
    pub fate: Fate,
    /// Counters that counted it, in order.
    pub counters: Vec<Counter>,
    /// Counters of single rules that counted it, in order.
    pub rule_counters: Vec<String>,
    /// Rules that decided or changed something, in order.
    pub traces: Vec<Trace>,
    /// Where its source is translated to.
    pub source: Option<SourceRewrite>,
    /// The local port that it is redirected to.
    pub redirected: Option<u16>,
}

/// What the source becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRewrite {
    /// The address of the outgoing interface.
    OfInterface,
    Address(Address),
}

/// The deepest jump that nft allows (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// A node as the evaluator knows it.
#[derive(Debug, Clone)]
pub struct Evaluator<'a> {
    pub ruleset: &'a Ruleset,
    /// Families whose lease the kernel holds.
    pub leases: Leases,
    /// What the kernel holds in sets of granted addresses.
    pub grants: Grants,
    /// In which sets of open connections the kernel holds the packet's own one.
    pub kept: KeptFlows,
    /// Addresses of outgoing interfaces, which a masquerade takes.
    pub addresses: BTreeMap<(String, Family), Address>,
    /// Egress addresses that are not on the node.
    pub absent: BTreeSet<Address>,
}

impl<'a> Evaluator<'a> {
    /// A node with this ruleset and both leases.
    #[must_use]
    pub fn new(ruleset: &'a Ruleset) -> Self {
        Self {
            ruleset,
            leases: Family::BOTH.into_iter().collect(),
            grants: Grants::new(),
            kept: KeptFlows::new(),
            addresses: BTreeMap::new(),
            absent: BTreeSet::new(),
        }
    }

    /// Runs a packet through the chains of the inet table at a hook. Its mark and its source change as the rules say.
    #[must_use]
    pub fn hook(&self, hook: Hook, packet: &mut Packet) -> HookOutcome {
        let table = &self.ruleset.inet;
        let mut outcome = HookOutcome::new();
        for Based { name, chain, base } in bases(table, hook) {
            if hook == Hook::Postrouting && base.priority > SOURCE_NAT {
                restore_source(packet);
            }
            if base.kind == BaseKind::Nat && !meets_nat(packet) {
                continue;
            }
            let mut walk = ChainWalk {
                hook,
                table,
                expiring: self.expiring(),
                subject: &mut *packet,
                outcome: &mut outcome,
            };
            let fate = match walk.chain(name, chain, 0) {
                ChainVerdict::End(fate) => fate,
                ChainVerdict::Return => outcome.otherwise(name, base),
            };
            if fate != Fate::Passes {
                outcome.fate = fate;
                break;
            }
            if base.kind == BaseKind::Nat {
                self.translate(packet, outcome.source);
            }
        }
        outcome
    }

    /// Runs a frame through the chains of the bridge table.
    #[must_use]
    pub fn frame(&self, frame: &mut Frame) -> HookOutcome {
        self.walk_frame(&self.ruleset.bridge, Hook::Prerouting, frame)
    }

    /// Runs a frame that the node itself received through the chains of the ARP table, which judge nothing but ARP.
    #[must_use]
    pub fn arp(&self, frame: &mut Frame) -> HookOutcome {
        self.walk_frame(&self.ruleset.arp, Hook::Input, frame)
    }

    fn walk_frame(&self, table: &'a Table, hook: Hook, frame: &mut Frame) -> HookOutcome {
        let mut outcome = HookOutcome::new();
        for Based { name, chain, base } in bases(table, hook) {
            let mut walk = ChainWalk {
                hook,
                table,
                expiring: self.expiring(),
                subject: &mut *frame,
                outcome: &mut outcome,
            };
            outcome.fate = match walk.chain(name, chain, 0) {
                ChainVerdict::End(fate) => fate,
                ChainVerdict::Return => outcome.otherwise(name, base),
            };
            if outcome.fate != Fate::Passes {
                break;
            }
        }
        outcome
    }

    const fn expiring(&self) -> Expiring<'_> {
        Expiring {
            leases: &self.leases,
            grants: &self.grants,
            kept: &self.kept,
        }
    }

    /// Chains after the translation see the new source.
    fn translate(&self, packet: &mut Packet, source: Option<SourceRewrite>) {
        let address = match source {
            Some(SourceRewrite::Address(address)) => Some(address),
            Some(SourceRewrite::OfInterface) => {
                let key = (packet.oif.clone(), packet.family());
                self.addresses.get(&key).copied()
            }
            None => None,
        };
        if let Some(address) = address {
            packet.source = address;
            packet.source_is_local = !self.absent.contains(&address);
        }
    }
}

impl HookOutcome {
    const fn new() -> Self {
        Self {
            fate: Fate::Passes,
            counters: Vec::new(),
            rule_counters: Vec::new(),
            traces: Vec::new(),
            source: None,
            redirected: None,
        }
    }

    /// The policy of a base chain that no rule ended.
    fn otherwise(&mut self, chain: &str, base: Base) -> Fate {
        if base.otherwise == Otherwise::Accept {
            return Fate::Passes;
        }
        self.traces.push(Trace {
            hook: base.hook,
            chain: chain.to_owned(),
            rule: None,
            text: "policy drop".to_owned(),
            counter: None,
            meaning: None,
        });
        Fate::Dropped
    }
}

/// NAT chains see a flow's first packet only; later ones are translated as that one was.
const fn meets_nat(packet: &Packet) -> bool {
    matches!(packet.conntrack.state, CtState::New | CtState::Related)
        && matches!(packet.conntrack.direction, CtDirection::Original)
}

/// `NF_IP_PRI_NAT_SRC`: all source NAT happens here, whatever priority its chain has; priorities only order NAT chains
/// among themselves.
const SOURCE_NAT: i32 = 100;

/// An answer of a flow whose destination was translated leaves with the address that the flow was opened to.
fn restore_source(packet: &mut Packet) {
    let conntrack = &packet.conntrack;
    if packet.is_tracked() && conntrack.dnat && conntrack.direction == CtDirection::Reply {
        packet.source = conntrack.original_destination;
    }
}

struct Based<'a> {
    name: &'a String,
    chain: &'a Chain,
    base: Base,
}

/// The base chains of a hook in the order of their priority.
fn bases(table: &Table, hook: Hook) -> Vec<Based<'_>> {
    let chains = table.chains.iter();
    let mut bases: Vec<Based<'_>> = chains
        .filter_map(|(name, chain)| {
            let base = chain.base?;
            (base.hook == hook).then_some(Based { name, chain, base })
        })
        .collect();
    bases.sort_by_key(|based| (based.base.priority, based.name));
    bases
}

enum ChainVerdict {
    /// The base chain ends.
    End(Fate),
    /// Back to the caller.
    Return,
}

/// A walk through the chains of one base chain.
struct ChainWalk<'a, S> {
    hook: Hook,
    table: &'a Table,
    expiring: Expiring<'a>,
    subject: &'a mut S,
    outcome: &'a mut HookOutcome,
}

/// A packet or a frame.
trait HookInput {
    fn subject(&self) -> MatchSubject<'_>;
    fn source(&self) -> Option<Address>;
    fn set_mark(&mut self, mask: u32, value: u32);
}

impl HookInput for Packet {
    fn subject(&self) -> MatchSubject<'_> {
        MatchSubject::Packet(self)
    }

    fn source(&self) -> Option<Address> {
        Some(self.source)
    }

    fn set_mark(&mut self, mask: u32, value: u32) {
        self.mark = self.mark & !mask | value;
    }
}

/// The bridge table has neither marks nor maps.
impl HookInput for Frame {
    fn subject(&self) -> MatchSubject<'_> {
        MatchSubject::Frame(self)
    }

    fn source(&self) -> Option<Address> {
        None
    }

    fn set_mark(&mut self, _mask: u32, _value: u32) {}
}

impl<S: HookInput> ChainWalk<'_, S> {
    fn chain(&mut self, name: &str, chain: &Chain, depth: usize) -> ChainVerdict {
        for (index, rule) in chain.rules.iter().enumerate() {
            if !holds(
                self.table,
                self.expiring,
                &rule.matches,
                self.subject.subject(),
            ) {
                continue;
            }
            // nft counts what reaches the counter, and a verdict map that has no entry lets the rule end there.
            if let Some(counter) = rule.counter {
                self.outcome.counters.push(counter);
            }
            let Some(target) = self.resolved(&rule.target) else {
                continue;
            };
            if let Some(verdict) = self.rule(name, index, rule, &target, depth) {
                return verdict;
            }
        }
        ChainVerdict::Return
    }

    /// What a rule leads to; a verdict map has been asked.
    fn resolved(&self, target: &Target) -> Option<Target> {
        let Target::SaddrMap(family, map) = target else {
            return Some(target.clone());
        };
        let source = self.subject.source()?;
        if Family::of(&source) != *family {
            return None;
        }
        let set = self.table.sets.get(map)?;
        let element = find(set, &[FieldValue::Address(source)])?;
        match &element.data {
            Some(Data::Verdict(target)) => Some(target.clone()),
            _ => None,
        }
    }

    /// None: the next rule follows.
    fn rule(
        &mut self,
        name: &str,
        index: usize,
        rule: &FirewallRule,
        target: &Target,
        depth: usize,
    ) -> Option<ChainVerdict> {
        let decides = !matches!(
            target,
            Target::Jump(_)
                | Target::Continue
                | Target::Keep(..)
                | Target::KeepFlow(..)
                | Target::Count(_)
                | Target::Record(_)
        );
        if decides {
            self.outcome.traces.push(Trace {
                hook: self.hook,
                chain: name.to_owned(),
                rule: Some(index),
                text: rule.to_string(),
                counter: rule.counter,
                meaning: rule.meaning,
            });
        }
        match target {
            Target::Accept => Some(ChainVerdict::End(Fate::Passes)),
            Target::Drop => Some(ChainVerdict::End(Fate::Dropped)),
            Target::RejectReset | Target::RejectProhibited => {
                Some(ChainVerdict::End(Fate::Rejected))
            }
            Target::Return => Some(ChainVerdict::Return),
            Target::Goto(to) => Some(self.enter(to, depth)),
            Target::Jump(to) => match self.enter(to, depth) {
                ChainVerdict::Return => None,
                end @ ChainVerdict::End(_) => Some(end),
            },
            Target::SetMark(mark) => {
                self.subject.set_mark(mark.mask, mark.value);
                None
            }
            Target::ClearMark(mask) => {
                self.subject.set_mark(*mask, 0);
                None
            }
            Target::Masquerade => {
                self.outcome.source = Some(SourceRewrite::OfInterface);
                Some(ChainVerdict::End(Fate::Passes))
            }
            Target::Snat(address) => {
                self.outcome.source = Some(SourceRewrite::Address(*address));
                Some(ChainVerdict::End(Fate::Passes))
            }
            Target::Redirect(port) => {
                self.outcome.redirected = Some(*port);
                Some(ChainVerdict::End(Fate::Passes))
            }
            Target::Count(counter) => {
                self.outcome.rule_counters.push(counter.clone());
                None
            }
            Target::Mss(_)
            | Target::Continue
            | Target::SaddrMap(..)
            | Target::Keep(..)
            | Target::KeepFlow(..)
            | Target::Record(_) => None,
        }
    }

    /// A chain that is not there, or a jump that is too deep, would make nft refuse the ruleset: nothing passes.
    fn enter(&mut self, to: &str, depth: usize) -> ChainVerdict {
        let table = self.table;
        match table.chains.get(to) {
            Some(chain) if depth < DEEPEST => self.chain(to, chain, depth + 1),
            _ => ChainVerdict::End(Fate::Dropped),
        }
    }
}
