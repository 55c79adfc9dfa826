//! Commands of nft as values. They become text once, at the port that runs nft.

use std::num::NonZeroU64;

use super::element::{Atom, Element};
use super::model::{Base, Chain, Opening, Set, SetType, Table, TableFamily};
use super::rule::FirewallRule;

/// One command on one of our tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub family: TableFamily,
    pub command: NftCommand,
}

impl Edit {
    /// The elements that it adds to release pods.
    #[must_use]
    pub fn releases(&self) -> &[Element] {
        match &self.command {
            NftCommand::AddElements {
                elements,
                opening: Opening::Released,
                ..
            } => elements,
            _ => &[],
        }
    }
}

/// A change of a table: nft(8), "add", "delete" and "flush" of each kind of object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NftCommand {
    /// Changes nothing where the table is there.
    AddTable,
    /// The kernel refuses it where the table is missing.
    DeleteTable,
    /// Changes nothing where the counter is there.
    AddCounter {
        name: String,
    },
    /// The kernel refuses it while a rule counts with it.
    DeleteCounter {
        name: String,
    },
    /// The kernel refuses it where a set of another type has the name.
    AddSet {
        name: String,
        set_type: SetType,
    },
    FlushSet {
        name: String,
        /// The declaration: nft has one word for sets and another one for maps.
        set_type: SetType,
    },
    /// The kernel refuses it while a rule looks into the set.
    DeleteSet {
        /// The name of a set or map.
        name: String,
    },
    /// Where the chain is there: changes its policy, and is refused for another hook or priority.
    AddChain {
        name: String,
        /// None: rules and elements lead to it.
        base: Option<Base>,
    },
    FlushChain {
        name: String,
    },
    /// The kernel refuses it while a rule or an element leads to the chain.
    DeleteChain {
        name: String,
    },
    /// Behind the chain's other rules.
    AddRule {
        chain: String,
        rule: FirewallRule,
    },
    /// The kernel refuses it where a key has other data.
    AddElements {
        /// The name of a set or map.
        set: String,
        elements: Vec<Element>,
        /// After how many seconds the kernel deletes them; 0 would mean never to nft.
        timeout: Option<NonZeroU64>,
        /// What the elements open.
        opening: Opening,
    },
    /// The kernel refuses it where a key is missing.
    DeleteElements {
        /// The name of a set or map.
        set: String,
        keys: Vec<Vec<Atom>>,
    },
}

/// Commands under construction, on the table of one family.
pub(crate) struct Edits<'a> {
    family: TableFamily,
    /// The table whose chains say what an element opens.
    desired: &'a Table,
    list: Vec<Edit>,
}

impl<'a> Edits<'a> {
    pub(crate) const fn new(family: TableFamily, desired: &'a Table) -> Self {
        Self {
            family,
            desired,
            list: Vec::new(),
        }
    }

    pub(crate) fn finish(self) -> Vec<Edit> {
        self.list
    }

    pub(crate) fn push(&mut self, command: NftCommand) {
        let family = self.family;
        self.list.push(Edit { family, command });
    }

    pub(crate) fn set(&mut self, name: &str, set: &Set) {
        let (name, set_type) = (name.to_owned(), set.set_type.clone());
        self.push(NftCommand::AddSet { name, set_type });
    }

    pub(crate) fn chain(&mut self, name: &str, base: Option<Base>) {
        let name = name.to_owned();
        self.push(NftCommand::AddChain { name, base });
    }

    pub(crate) fn rules(&mut self, name: &str, chain: &Chain) {
        for rule in &chain.rules {
            let (chain, rule) = (name.to_owned(), rule.clone());
            self.push(NftCommand::AddRule { chain, rule });
        }
    }

    /// Elements that open something are a command of their own.
    pub(crate) fn elements<'e>(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = &'e Element>,
    ) {
        let elements = elements.into_iter();
        let (opening, others): (Vec<&Element>, Vec<&Element>) =
            elements.partition(|element| self.desired.opening(element) != Opening::Nothing);
        for (some, opening) in [(others, Opening::Nothing), (opening, Opening::Released)] {
            if !some.is_empty() {
                self.push(NftCommand::AddElements {
                    set: set.to_owned(),
                    elements: some.into_iter().cloned().collect(),
                    timeout: None,
                    opening,
                });
            }
        }
    }

    pub(crate) fn delete_elements<'e>(
        &mut self,
        set: &str,
        elements: impl IntoIterator<Item = &'e Element>,
    ) {
        let keys: Vec<Vec<Atom>> = elements.into_iter().map(|e| e.key.clone()).collect();
        if !keys.is_empty() {
            let set = set.to_owned();
            self.push(NftCommand::DeleteElements { set, keys });
        }
    }

    /// Everything of the desired table. Names come before what refers to them.
    pub(crate) fn table(&mut self) {
        let table = self.desired;
        for name in table.counter_names() {
            let name = name.to_owned();
            self.push(NftCommand::AddCounter { name });
        }
        for (name, set) in &table.sets {
            self.set(name, set);
        }
        for (name, chain) in &table.chains {
            self.chain(name, chain.base);
        }
        for (name, chain) in &table.chains {
            self.rules(name, chain);
        }
        for (name, set) in &table.sets {
            self.elements(name, &set.elements);
        }
    }
}
