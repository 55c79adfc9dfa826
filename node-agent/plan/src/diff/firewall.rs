//! The firewall: from one state of our tables to another one, in one batch.

use std::collections::BTreeSet;

use postern_intent::Address;

use super::table_state::{ChainState, FirewallState, SetState, TableState};
use crate::ruleset::edit::Edits;
use crate::ruleset::{
    Atom, Chain, Edit, Element, NftCommand, Opening, Ruleset, Set, SetFlag, Table, TableFamily,
    Transaction,
};

/// A change in two batches: what tightens or stays within a scope, and what releases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallChange {
    pub guard: Transaction,
    /// After the lock and the cuts of flows, and before links and routes.
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
pub fn change(current: &FirewallState, desired: &Ruleset) -> FirewallChange {
    let pairs = [
        (TableFamily::Inet, current.inet.as_ref(), &desired.inet),
        (
            TableFamily::Bridge,
            current.bridge.as_ref(),
            &desired.bridge,
        ),
    ];
    let can_be_edited = pairs
        .iter()
        .all(|(_, current, desired)| current.is_some_and(|current| is_editable(current, desired)));
    if !can_be_edited {
        return replacement(current, desired);
    }
    let held = without_releases_but(current, desired);
    FirewallChange {
        guard: edit_all(current, &held),
        release: edit_all(&(&held).into(), desired),
    }
}

/// The guard's tables made anew, without a look at the current ones.
#[must_use]
pub fn replacement(current: &FirewallState, desired: &Ruleset) -> FirewallChange {
    let held = match &current.inet {
        // Without a table nobody is held, so that a release opens nothing; without the releases everybody whom no policy
        // selects would lose their traffic until the last batch.
        None => desired.clone(),
        Some(_) => without_releases_but(current, desired),
    };
    let guard = Transaction::replace(&held);
    let release = edit_all(&(&held).into(), desired);
    FirewallChange { guard, release }
}

/// The kernel moves no base chain and changes no set's type: both need a new table.
fn is_editable(current: &TableState, desired: &Table) -> bool {
    let mut chains = desired.chains.iter();
    let mut sets = desired.sets.iter();
    chains.all(|(name, chain)| {
        let there = current.chains.get(name);
        there.is_none_or(|there| match (&there.base, &chain.base) {
            (Some(there), Some(wanted)) => there.stands_like(wanted),
            (there, wanted) => there == wanted,
        })
    }) && sets.all(|(name, set)| {
        let there = current.sets.get(name);
        there.is_none_or(|there| there.set_type.as_ref() == Some(&set.set_type))
    })
}

fn edit_all(current: &FirewallState, desired: &Ruleset) -> Transaction {
    let mut all = Transaction::default();
    for (family, current, desired) in [
        (TableFamily::Inet, &current.inet, &desired.inet),
        (TableFamily::Bridge, &current.bridge, &desired.bridge),
    ] {
        if let Some(current) = current {
            all = all.then(edit(family, current, desired));
        }
    }
    all
}

/// The desired ruleset without releases, those apart that are in force already and those that open nothing.
fn without_releases_but(current: &FirewallState, desired: &Ruleset) -> Ruleset {
    retain_releases(desired, |name, element| {
        let Some(current) = &current.inet else {
            return false;
        };
        let there = current.sets.get(name);
        there.is_some_and(|set| set.elements.contains(element))
            || (current.leaves_the_unbound_alone() && !current.judges(element))
    })
}

/// The ruleset without the releases that the predicate denies, given the set's name and the element.
fn retain_releases(desired: &Ruleset, keeps: impl Fn(&str, &Element) -> bool) -> Ruleset {
    let mut held = desired.clone();
    for (name, set) in &mut held.inet.sets {
        set.elements.retain(|element| {
            desired.inet.opening(element) == Opening::Nothing || keeps(name, element)
        });
    }
    held
}

/// Every release of the ruleset, those of these addresses apart; what is released already stays so.
#[must_use]
pub fn releases_but(desired: &Ruleset, uncut: &BTreeSet<Address>) -> Transaction {
    let is_uncut = |element: &Element| {
        let mut key = element.key.iter();
        key.any(|atom| matches!(atom, Atom::Address(address) if uncut.contains(address)))
    };
    let mut edits = Edits::new(TableFamily::Inet, &desired.inet);
    for (name, set) in &desired.inet.sets {
        let releases = set.elements.iter().filter(|element| {
            desired.inet.opening(element) != Opening::Nothing && !is_uncut(element)
        });
        edits.elements(name, releases);
    }
    Transaction::of(edits.finish(), "add the releases whose old flows are cut")
}

/// The commands from one table to another. Names come first, then rules, then elements; what goes, goes at the end, when
/// nothing refers to it any more.
fn edit(family: TableFamily, current: &TableState, desired: &Table) -> Transaction {
    let target = TableState::from(desired);
    if current == &target {
        return Transaction::default();
    }
    let mut edits = Edits::new(family, desired);
    let mut counts = Counts::default();
    for name in desired.counter_names() {
        if !current.counters.contains(name) {
            let name = name.to_owned();
            edits.push(NftCommand::AddCounter { name });
        }
    }
    for (name, set) in &desired.sets {
        if !current.sets.contains_key(name) {
            edits.set(name, set);
        }
    }
    for (name, chain) in &desired.chains {
        if !current.chains.contains_key(name) {
            edits.chain(name, chain.base);
        }
    }
    for (name, chain) in &desired.chains {
        let (there, wanted) = (current.chains.get(name), target.chains.get(name));
        edit_chain(&mut edits, &mut counts, (name, chain), (there, wanted));
    }
    for (name, set) in &desired.sets {
        edit_set(&mut edits, &mut counts, name, set, current.sets.get(name));
    }
    remove_gone(&mut edits, &mut counts, current, desired);
    let edits = edits.finish();
    counts.released = edits.iter().map(Edit::releases).map(<[Element]>::len).sum();
    Transaction::of(edits, counts.to_string())
}

/// A base chain's policy is changed in place: nft takes a declaration of a chain that is there.
fn edit_chain(
    edits: &mut Edits<'_>,
    counts: &mut Counts,
    (name, chain): (&String, &Chain),
    (there, wanted): (Option<&ChainState>, Option<&ChainState>),
) {
    if there == wanted {
        return;
    }
    counts.chains += 1;
    if there.is_some_and(|there| there.base != chain.base) {
        edits.chain(name, chain.base);
    }
    if there.map(|there| &there.rules) == wanted.map(|wanted| &wanted.rules) {
        return;
    }
    edits.push(NftCommand::FlushChain { name: name.clone() });
    edits.rules(name, chain);
}

#[derive(Default)]
struct Counts {
    chains: usize,
    added: usize,
    deleted: usize,
    /// Of those that are added.
    released: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} chains, +{} -{} elements, of which {} release",
            self.chains, self.added, self.deleted, self.released
        )
    }
}

fn edit_set(
    edits: &mut Edits<'_>,
    counts: &mut Counts,
    name: &str,
    set: &Set,
    there: Option<&SetState>,
) {
    if set.set_type.changes_by_itself() {
        return;
    }
    let nothing = BTreeSet::new();
    let there = there.map_or(&nothing, |there| &there.elements);
    let gone: Vec<&Element> = there.difference(&set.elements).collect();
    let new: Vec<&Element> = set.elements.difference(there).collect();
    if gone.is_empty() && new.is_empty() {
        return;
    }
    counts.added += new.len();
    counts.deleted += gone.len();
    // Deleting many intervals one by one takes nft 1.0.6 seconds, and it once refused to add a wildcard to a set that
    // had wildcards: such a set is refilled, in the same batch.
    if set.set_type.flag == Some(SetFlag::Interval) {
        let (name, set_type) = (name.to_owned(), set.set_type.clone());
        edits.push(NftCommand::FlushSet {
            name: name.clone(),
            set_type,
        });
        edits.elements(&name, &set.elements);
        return;
    }
    edits.delete_elements(name, gone);
    edits.elements(name, new);
}

fn remove_gone(edits: &mut Edits<'_>, counts: &mut Counts, current: &TableState, desired: &Table) {
    let chains = current.chains.keys();
    let chains = chains.filter(|name| !desired.chains.contains_key(*name));
    for name in chains.clone() {
        counts.chains += 1;
        edits.push(NftCommand::FlushChain { name: name.clone() });
    }
    for name in chains {
        edits.push(NftCommand::DeleteChain { name: name.clone() });
    }
    let sets = current.sets.keys();
    for name in sets.filter(|name| !desired.sets.contains_key(*name)) {
        edits.push(NftCommand::DeleteSet { name: name.clone() });
    }
    let known: BTreeSet<&str> = desired.counter_names().collect();
    let counters = current.counters.iter();
    for name in counters.filter(|name| !known.contains(name.as_str())) {
        edits.push(NftCommand::DeleteCounter { name: name.clone() });
    }
}
