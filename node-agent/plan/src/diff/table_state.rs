//! Tables in the form in which written ones and read ones compare.

use std::collections::{BTreeMap, BTreeSet};

use super::learned::Learned;
use crate::desired::names::{GUARD_CHAIN, GUARD_MAP, LAST_MAP, LOCAL_SET, halved};
use crate::desired::{NodeClaim, holds};
use crate::host::Family;
use crate::observed::{ObservedFirewall, ObservedTable};
use crate::ruleset::{Base, Element, Ruleset, SetType, Table, TableFamily};

/// A table in the form in which written and read tables compare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableState {
    pub(super) counters: BTreeSet<String>,
    pub(super) chains: BTreeMap<String, ChainState>,
    pub(super) sets: BTreeMap<String, SetState>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetState {
    /// None: the agent declares no such set, and does not understand the declaration.
    pub(super) set_type: Option<SetType>,
    /// Empty where the kernel deletes elements by itself.
    pub(super) elements: BTreeSet<Element>,
}

impl SetState {
    /// Elements of a set that changes by itself are left out: a lease that ran out is no difference of the table.
    fn of(set_type: Option<&SetType>, elements: &BTreeSet<Element>) -> Self {
        let changes = set_type.is_some_and(SetType::changes_by_itself);
        Self {
            set_type: set_type.cloned(),
            elements: if changes {
                BTreeSet::new()
            } else {
                elements.clone()
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChainState {
    pub(super) base: Option<Base>,
    /// Identities of the rules in order.
    pub(super) rules: Vec<String>,
}

impl From<&Table> for TableState {
    fn from(table: &Table) -> Self {
        let chains = table.chains.iter().map(|(name, chain)| {
            let rules = chain
                .rules
                .iter()
                .map(crate::ruleset::FirewallRule::identity)
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
            let state = SetState::of(Some(&set.set_type), &set.elements);
            (name.clone(), state)
        });
        Self {
            counters: table.counter_names().map(str::to_owned).collect(),
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
        let sets = table.sets.iter().map(|(name, set)| {
            // A declaration that was not understood forces no replacement: another version of nft may say it in other words, and the
            // tables would be replaced in every run. Where the type is really another one, nft refuses an edit, and that replaces.
            let wanted = || desired.sets.get(name).map(|set| &set.set_type);
            let set_type = set.set_type.as_ref().or_else(wanted);
            (name.clone(), SetState::of(set_type, &set.elements))
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
    pub(super) fn leaves_the_unbound_alone(&self) -> bool {
        let has = |claim| {
            let guard = self.chains.get(GUARD_CHAIN).map(|chain| &chain.rules);
            let mut holds = holds(claim).into_iter().map(|rule| rule.identity());
            guard.is_some_and(|rules| holds.all(|hold| rules.contains(&hold)))
        };
        has(NodeClaim::Unclaimed) && !has(NodeClaim::Claimed)
    }

    /// Is the element's address one of a bound pod, or has it a class?
    pub(super) fn judges(&self, element: &Element) -> bool {
        let names = [LOCAL_SET, GUARD_MAP, LAST_MAP];
        let mut sets = names
            .iter()
            .flat_map(|name| Family::BOTH.map(|family| halved(name, family)))
            .filter_map(|name| self.sets.get(&name));
        sets.any(|set| set.elements.iter().any(|there| there.key == element.key))
    }
}

/// Our tables in comparable form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallState {
    pub(super) inet: Option<TableState>,
    pub(super) bridge: Option<TableState>,
    pub(super) arp: Option<TableState>,
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
