//! One atomic change of the firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU64;

use super::edit::{Edit, Edits, NftCommand};
use super::element::{Atom, Element};
use super::model::{Opening, Ruleset, TableFamily};
use crate::desired::LEASE;
use crate::desired::names::{GRANTED, KEPT};
use crate::host::Family;
use crate::observed::ObservedTable;
use postern_intent::Address;

/// An address in a set of grants, for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub set: String,
    pub address: Address,
    pub seconds: NonZeroU64,
}

/// Commands that the kernel takes all of or none of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    edits: Vec<Edit>,
    summary: String,
}

impl Transaction {
    /// The guard's tables, inet and bridge, replaced: added so that deleting cannot fail, deleted, added again, filled.
    /// Between two packets there is the old ruleset or the new one.
    #[must_use]
    pub fn replace(ruleset: &Ruleset) -> Self {
        Self {
            edits: GUARD.map(|family| replaced(ruleset, family)).concat(),
            summary: "replace both tables".to_owned(),
        }
    }

    /// The ARP table replaced. It is a batch of its own, and no part of the guard's: a kernel without the arp family
    /// (`CONFIG_NF_TABLES_ARP`) would refuse the guard with it.
    #[must_use]
    pub fn replace_arp(ruleset: &Ruleset) -> Self {
        Self {
            edits: replaced(ruleset, TableFamily::Arp),
            summary: "replace the ARP table".to_owned(),
        }
    }

    /// The guard's tables removed; for the end of a release only.
    #[must_use]
    pub fn remove() -> Self {
        Self {
            edits: GUARD.map(removed).concat(),
            summary: "remove both tables".to_owned(),
        }
    }

    /// The ARP table removed.
    #[must_use]
    pub fn remove_arp() -> Self {
        Self {
            edits: removed(TableFamily::Arp),
            summary: "remove the ARP table".to_owned(),
        }
    }

    /// These commands, in this order.
    #[must_use]
    pub fn of(edits: Vec<Edit>, summary: impl Into<String>) -> Self {
        Self {
            edits,
            summary: summary.into(),
        }
    }

    /// Renews the kernel's lease in both families: add, delete and add again in one batch, because delete alone fails
    /// once the element has expired (`Error: Could not process rule: No such file or directory`).
    #[must_use]
    pub fn lease(seconds: NonZeroU64) -> Self {
        let renewed = |family| {
            let [add, delete] = ended(family, seconds);
            [add.clone(), delete, add]
        };
        Self {
            edits: Family::BOTH.map(renewed).concat(),
            summary: format!("lease for {seconds} s"),
        }
    }

    /// Ends the kernel's lease at once.
    #[must_use]
    pub fn end_lease() -> Self {
        let ended = |family| ended(family, NonZeroU64::MIN);
        Self {
            edits: Family::BOTH.map(ended).concat(),
            summary: "end the lease".to_owned(),
        }
    }

    /// Puts addresses into sets of grants, each for its time. What is there already gets the new time: add, delete and add in one
    /// batch, because the kernel leaves the time of an element alone that it has.
    #[must_use]
    pub fn grant(grants: &[Grant]) -> Self {
        let mut by_time: BTreeMap<(&str, NonZeroU64), BTreeSet<Address>> = BTreeMap::new();
        for grant in grants {
            let place = by_time.entry((&grant.set, grant.seconds)).or_default();
            place.insert(grant.address);
        }
        let mut edits = Vec::new();
        for ((set, seconds), addresses) in by_time {
            let keys: Vec<Vec<Atom>> = addresses
                .into_iter()
                .map(|address| vec![Atom::Address(address)])
                .collect();
            let add = NftCommand::AddElements {
                set: set.to_owned(),
                elements: keys.iter().cloned().map(Element::key).collect(),
                timeout: Some(seconds),
                opening: Opening::Nothing,
            };
            let set = set.to_owned();
            let delete = NftCommand::DeleteElements { set, keys };
            edits.extend([add.clone(), delete, add].map(|command| Edit {
                family: TableFamily::Inet,
                command,
            }));
        }
        Self {
            edits,
            summary: format!("grant {} addresses", grants.len()),
        }
    }

    /// The elements of the observed sets of grants that a batch makes anew, each for the time that is left.
    #[must_use]
    pub fn carry_grants(observed: &ObservedTable, batch: &Self) -> Self {
        let made: BTreeSet<&String> = batch.edits.iter().filter_map(made_for_grants).collect();
        let kept = observed.sets.iter().filter(|(name, _)| made.contains(name));
        let grants = kept.flat_map(|(name, set)| {
            set.expires.iter().filter_map(|(key, seconds)| {
                let [Atom::Address(address)] = key.as_slice() else {
                    return None;
                };
                Some(Grant {
                    set: name.clone(),
                    address: *address,
                    seconds: NonZeroU64::new(*seconds)?,
                })
            })
        });
        Self::grant(&grants.collect::<Vec<_>>())
    }

    /// Does the batch make a table anew, so that the elements of its sets are gone?
    #[must_use]
    pub fn replaces(&self, family: TableFamily) -> bool {
        let mut edits = self.edits.iter();
        edits.any(|edit| edit.family == family && edit.command == NftCommand::DeleteTable)
    }

    /// This batch followed by another one, as one batch.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.edits.extend(other.edits);
        if self.summary.is_empty() {
            self.summary = other.summary;
        } else if !other.summary.is_empty() {
            self.summary = format!("{}; {}", self.summary, other.summary);
        }
        self
    }

    /// The chains that the batch fills with rules.
    #[must_use]
    pub fn fills(&self) -> BTreeSet<(TableFamily, String)> {
        let filled = self.edits.iter().filter_map(|edit| match &edit.command {
            NftCommand::AddRule { chain, .. } => Some((edit.family, chain.clone())),
            _ => None,
        });
        filled.collect()
    }

    /// Does the batch change nothing?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The commands in order.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The batch in a few words.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }
}

impl fmt::Display for Transaction {
    /// A file for `nft -f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.edits.iter().try_for_each(|edit| edit.fmt(f))
    }
}

/// The set for grants that a command makes. Sets of limits have the same type, and a source that was carried over without its
/// limit would have none.
fn made_for_grants(edit: &Edit) -> Option<&String> {
    match &edit.command {
        NftCommand::AddSet { name, .. }
            if [GRANTED, KEPT].iter().any(|start| name.starts_with(start)) =>
        {
            Some(name)
        }
        _ => None,
    }
}

/// The families of the tables that guard.
const GUARD: [TableFamily; 2] = [TableFamily::Inet, TableFamily::Bridge];

fn replaced(ruleset: &Ruleset, family: TableFamily) -> Vec<Edit> {
    let mut edits = Edits::new(family, ruleset.table(family));
    for command in [
        NftCommand::AddTable,
        NftCommand::DeleteTable,
        NftCommand::AddTable,
    ] {
        edits.push(command);
    }
    edits.table();
    edits.finish()
}

fn removed(family: TableFamily) -> Vec<Edit> {
    [NftCommand::AddTable, NftCommand::DeleteTable]
        .map(|command| Edit { family, command })
        .into()
}

/// Adds a family's element of the lease and deletes it: the addition lets the deletion succeed where it has expired.
fn ended(family: Family, seconds: NonZeroU64) -> [Edit; 2] {
    let key = vec![Atom::Family(family)];
    let add = NftCommand::AddElements {
        set: LEASE.to_owned(),
        elements: vec![Element::key(key.clone())],
        timeout: Some(seconds),
        opening: Opening::Nothing,
    };
    let set = LEASE.to_owned();
    let keys = vec![key];
    let delete = NftCommand::DeleteElements { set, keys };
    [add, delete].map(|command| Edit {
        family: TableFamily::Inet,
        command,
    })
}

impl fmt::Display for Ruleset {
    /// The whole ruleset as a file for `nft -f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arp = Transaction::replace_arp(self);
        Transaction::replace(self).then(arp).fmt(f)
    }
}
