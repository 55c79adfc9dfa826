//! The firewall: from one state of our tables to another one, in one batch.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::Address;

use super::learned::Learned;
use crate::desired::names::halved;
use crate::desired::{NodeClaim, holds};
use crate::host::Family;
use crate::observed::{ObservedFirewall, ObservedTable};
use crate::ruleset::model::SetFlag;
use crate::ruleset::print::Lines;
use crate::ruleset::{
    Atom, Base, Chain, Data, Element, Ruleset, Set, Table, TableFamily, Target, Transaction,
};

/// A table in the form in which written and read tables compare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableState {
    counters: BTreeSet<String>,
    chains: BTreeMap<String, ChainState>,
    sets: BTreeMap<String, BTreeSet<Element>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ChainState {
    base: Option<Base>,
    /// Identities of the rules in order.
    rules: Vec<String>,
}

impl From<&Table> for TableState {
    fn from(table: &Table) -> Self {
        let chains = table.chains.iter().map(|(name, chain)| {
            let rules = chain
                .rules
                .iter()
                .map(crate::ruleset::Rule::identity)
                .collect();
            (
                name.clone(),
                ChainState {
                    base: chain.base,
                    rules,
                },
            )
        });
        let sets = table.sets.iter().map(|(name, set)| {
            (
                name.clone(),
                if set.is_compared() {
                    set.elements.clone()
                } else {
                    BTreeSet::new()
                },
            )
        });
        Self {
            counters: table
                .counters
                .iter()
                .map(|counter| counter.0.to_owned())
                .collect(),
            chains: chains.collect(),
            sets: sets.collect(),
        }
    }
}

impl TableState {
    /// A table as it was read. A rule without a comment, or with expressions that are not the learned ones, gets an
    /// identity that no rule of ours has.
    #[must_use]
    pub fn read(
        family: TableFamily,
        table: &ObservedTable,
        desired: &Table,
        learned: &Learned,
    ) -> Self {
        let chains = table.chains.iter().map(|(name, chain)| {
            let rules = chain.rules.iter().map(|rule| match &rule.comment {
                None => "foreign".to_owned(),
                Some(id) if learned.knows(family, name, id, &rule.expressions) => id.clone(),
                Some(id) => format!("not known as {id}"),
            });
            (
                name.clone(),
                ChainState {
                    base: chain.base,
                    rules: rules.collect(),
                },
            )
        });
        let sets = table.sets.iter().map(|(name, elements)| {
            let compared = desired.sets.get(name).is_none_or(Set::is_compared);
            (
                name.clone(),
                if compared {
                    elements.clone()
                } else {
                    BTreeSet::new()
                },
            )
        });
        Self {
            counters: table.counters.keys().cloned().collect(),
            chains: chains.collect(),
            sets: sets.collect(),
        }
    }
}

impl TableState {
    /// Before the first intent pods without a binding go where the node lets them: the guard holds bound ones alone.
    fn leaves_the_unbound_alone(&self) -> bool {
        let has = |claim| {
            let guard = self.chains.get("guard").map(|chain| &chain.rules);
            let mut holds = holds(claim).into_iter().map(|rule| rule.identity());
            guard.is_some_and(|rules| holds.all(|hold| rules.contains(&hold)))
        };
        has(NodeClaim::Unclaimed) && !has(NodeClaim::Claimed)
    }

    /// Is the element's address one of a bound pod, or has it a class?
    fn judges(&self, element: &Element) -> bool {
        let names = ["local", "from", "last"];
        let mut sets = names
            .iter()
            .flat_map(|name| Family::BOTH.map(|family| halved(name, family)))
            .filter_map(|name| self.sets.get(&name));
        sets.any(|set| set.iter().any(|there| there.key == element.key))
    }
}

/// Our tables in comparable form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallState {
    inet: Option<TableState>,
    bridge: Option<TableState>,
    arp: Option<TableState>,
}

impl FirewallState {
    /// As they were read.
    #[must_use]
    pub fn read(observed: &ObservedFirewall, desired: &Ruleset, learned: &Learned) -> Self {
        let state = |family, table: &Option<ObservedTable>| {
            let table = table.as_ref()?;
            Some(TableState::read(
                family,
                table,
                desired.table(family),
                learned,
            ))
        };
        Self {
            inet: state(TableFamily::Inet, &observed.inet),
            bridge: state(TableFamily::Bridge, &observed.bridge),
            arp: state(TableFamily::Arp, &observed.arp),
        }
    }
}

impl From<&Ruleset> for FirewallState {
    fn from(ruleset: &Ruleset) -> Self {
        Self {
            inet: Some((&ruleset.inet).into()),
            bridge: Some((&ruleset.bridge).into()),
            arp: Some((&ruleset.arp).into()),
        }
    }
}

/// A change in two batches: what tightens or stays within a scope, and what releases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// First.
    pub guard: Transaction,
    /// Last, when everything else stands.
    pub release: Transaction,
}

/// From the ARP table that is there to the one that should be there. It is small, and always written whole.
#[must_use]
pub fn change_arp(current: &FirewallState, desired: &Ruleset) -> Transaction {
    match current.arp == Some((&desired.arp).into()) {
        true => Transaction::default(),
        false => Transaction::replace_arp(desired),
    }
}

/// The change from the current tables to the desired ones, without the ARP table.
#[must_use]
pub fn change(current: &FirewallState, desired: &Ruleset) -> Change {
    let pairs = [
        (TableFamily::Inet, current.inet.as_ref(), &desired.inet),
        (
            TableFamily::Bridge,
            current.bridge.as_ref(),
            &desired.bridge,
        ),
    ];
    let whole = pairs
        .iter()
        .any(|(_, current, desired)| current.is_none_or(|c| !same_skeleton(c, desired)));
    if whole {
        return replacement(current, desired);
    }
    let held = without_releases_but(current, desired);
    Change {
        guard: edit_all(current, &held),
        release: edit_all(&(&held).into(), desired),
    }
}

/// The guard's tables made anew, without a look at the current ones.
#[must_use]
pub fn replacement(current: &FirewallState, desired: &Ruleset) -> Change {
    let held = match &current.inet {
        // Without a table nobody is held, so that a release opens nothing; without the releases everybody whom no policy
        // selects would lose their traffic until the last batch.
        None => desired.clone(),
        Some(_) => without_releases_but(current, desired),
    };
    let guard = Transaction::replace(&held);
    let release = edit_all(&(&held).into(), desired);
    Change { guard, release }
}

/// Only whole batches can move a base chain; everything else can be edited.
fn same_skeleton(current: &TableState, desired: &Table) -> bool {
    desired.chains.iter().all(|(name, chain)| {
        let there = current.chains.get(name);
        there.is_none_or(|there| match (&there.base, &chain.base) {
            (Some(there), Some(wanted)) => there.stands_like(wanted),
            (there, wanted) => there == wanted,
        })
    })
}

fn edit_all(current: &FirewallState, desired: &Ruleset) -> Transaction {
    let mut all = Transaction::default();
    for (family, current, desired) in [
        (TableFamily::Inet, &current.inet, &desired.inet),
        (TableFamily::Bridge, &current.bridge, &desired.bridge),
    ] {
        if let Some(current) = current {
            all = all.then(&edit(family, current, desired));
        }
    }
    all
}

/// Does the element let a pod go wherever the node would let it?
fn releases(element: &Element) -> bool {
    matches!(&element.data, Some(Data::Verdict(Target::Goto(chain))) if chain == "released" || chain == "last_released")
}

/// The desired ruleset without releases, those apart that are in force already and those that open nothing.
fn without_releases_but(current: &FirewallState, desired: &Ruleset) -> Ruleset {
    let mut held = desired.clone();
    let Some(current) = &current.inet else {
        return without_releases(held);
    };
    let leaves_alone = current.leaves_the_unbound_alone();
    for (name, set) in &mut held.inet.sets {
        let there = current.sets.get(name);
        set.elements.retain(|element| {
            !releases(element)
                || there.is_some_and(|set| set.contains(element))
                || (leaves_alone && !current.judges(element))
        });
    }
    held
}

fn without_releases(mut ruleset: Ruleset) -> Ruleset {
    for set in ruleset.inet.sets.values_mut() {
        set.elements.retain(|element| !releases(element));
    }
    ruleset
}

/// Every release of the ruleset, those of these addresses apart; what is released already stays so.
#[must_use]
pub fn releases_but(desired: &Ruleset, uncut: &BTreeSet<Address>) -> Transaction {
    let is_uncut = |element: &Element| {
        let mut key = element.key.iter();
        key.any(|atom| matches!(atom, Atom::Address(address) if uncut.contains(address)))
    };
    let mut all = Transaction::default();
    for (name, set) in &desired.inet.sets {
        let elements = set.elements.iter();
        let mut elements = elements
            .filter(|element| releases(element) && !is_uncut(element))
            .peekable();
        if elements.peek().is_some() {
            all = all.then(&Transaction::elements("add", name, elements));
        }
    }
    all
}

/// The lines from one table to another. Names come first, then rules, then elements; what goes, goes at the end, when
/// nothing refers to it any more.
fn edit(family: TableFamily, current: &TableState, desired: &Table) -> Transaction {
    let target = TableState::from(desired);
    if current == &target {
        return Transaction::default();
    }
    let mut lines = Lines::new(family);
    let mut counts = Counts::default();
    for counter in desired
        .counters
        .iter()
        .filter(|counter| !current.counters.contains(counter.0))
    {
        lines.counter("add", *counter);
    }
    for (name, set) in desired
        .sets
        .iter()
        .filter(|(name, _)| !current.sets.contains_key(*name))
    {
        lines.set(name, set);
    }
    for (name, chain) in desired
        .chains
        .iter()
        .filter(|(name, _)| !current.chains.contains_key(*name))
    {
        lines.chain(name, chain.base);
    }
    for (name, chain) in &desired.chains {
        edit_chain(
            &mut lines,
            &mut counts,
            (name, chain),
            (current.chains.get(name), target.chains.get(name)),
        );
    }
    for (name, set) in &desired.sets {
        edit_set(&mut lines, &mut counts, name, set, current.sets.get(name));
    }
    remove_gone(&mut lines, &mut counts, current, desired);
    Transaction::of(lines.finish(), counts.to_string())
}

/// What becomes of what no rule judges is changed in place: nft takes a declaration of a chain that is there.
fn edit_chain(
    lines: &mut Lines,
    counts: &mut Counts,
    (name, chain): (&String, &Chain),
    (there, wanted): (Option<&ChainState>, Option<&ChainState>),
) {
    if there == wanted {
        return;
    }
    counts.chains += 1;
    if there.is_some_and(|there| there.base != chain.base) {
        lines.chain(name, chain.base);
    }
    if there.map(|there| &there.rules) == wanted.map(|wanted| &wanted.rules) {
        return;
    }
    lines.chain_verb("flush", name);
    for rule in &chain.rules {
        lines.rule(name, rule);
    }
}

#[derive(Default)]
struct Counts {
    chains: usize,
    added: usize,
    deleted: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} chains, +{} -{} elements",
            self.chains, self.added, self.deleted
        )
    }
}

fn edit_set(
    lines: &mut Lines,
    counts: &mut Counts,
    name: &str,
    set: &Set,
    there: Option<&BTreeSet<Element>>,
) {
    if !set.is_compared() {
        return;
    }
    let nothing = BTreeSet::new();
    let there = there.unwrap_or(&nothing);
    let gone: Vec<&Element> = there.difference(&set.elements).collect();
    let new: Vec<&Element> = set.elements.difference(there).collect();
    if gone.is_empty() && new.is_empty() {
        return;
    }
    counts.added += new.len();
    counts.deleted += gone.len();
    // Deleting many intervals one by one takes nft 1.0.6 seconds, and it once refused to add a wildcard to a set that
    // had wildcards: such a set is refilled, in the same batch.
    if set.flag == Some(SetFlag::Interval) {
        lines.flush_set(name, set);
        lines.elements("add", name, set.elements.iter());
        return;
    }
    let keys: Vec<Element> = gone
        .iter()
        .map(|element| Element::key(element.key.clone()))
        .collect();
    lines.elements("delete", name, keys.iter());
    lines.elements("add", name, new.into_iter());
}

fn remove_gone(lines: &mut Lines, counts: &mut Counts, current: &TableState, desired: &Table) {
    let chains: Vec<&String> = current
        .chains
        .keys()
        .filter(|name| !desired.chains.contains_key(*name))
        .collect();
    for name in &chains {
        counts.chains += 1;
        lines.chain_verb("flush", name);
    }
    for name in &chains {
        lines.chain_verb("delete", name);
    }
    for name in current
        .sets
        .keys()
        .filter(|name| !desired.sets.contains_key(*name))
    {
        // nft takes `delete set` for maps too.
        lines.delete_set(name, "set");
    }
    let known: BTreeSet<&str> = desired.counters.iter().map(|counter| counter.0).collect();
    for name in current
        .counters
        .iter()
        .filter(|name| !known.contains(name.as_str()))
    {
        lines.delete_counter(name);
    }
}
