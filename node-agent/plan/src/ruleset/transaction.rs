//! One atomic change of the firewall.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU64;

use super::Element;
use super::model::{Ruleset, TableFamily};
use super::print::Lines;

/// Lines of nft's language that the kernel takes whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    text: String,
    summary: String,
}

impl Transaction {
    /// The guard's tables, inet and bridge, replaced: made so that deleting cannot fail, deleted, made again, filled. Between two packets there
    /// is the old ruleset or the new one.
    #[must_use]
    pub fn replace(ruleset: &Ruleset) -> Self {
        Self {
            text: GUARD.map(|family| replaced(ruleset, family)).concat(),
            summary: "replace both tables".to_owned(),
        }
    }

    /// The ARP table replaced. It is a batch of its own, and no part of the guard's: a kernel without the arp family
    /// (`CONFIG_NF_TABLES_ARP`) would refuse the guard with it.
    #[must_use]
    pub fn replace_arp(ruleset: &Ruleset) -> Self {
        Self {
            text: replaced(ruleset, TableFamily::Arp),
            summary: "replace the ARP table".to_owned(),
        }
    }

    /// The guard's tables removed; for the end of a release only.
    #[must_use]
    pub fn remove() -> Self {
        Self {
            text: GUARD.map(removed).concat(),
            summary: "remove both tables".to_owned(),
        }
    }

    /// The ARP table removed.
    #[must_use]
    pub fn remove_arp() -> Self {
        Self {
            text: removed(TableFamily::Arp),
            summary: "remove the ARP table".to_owned(),
        }
    }

    /// Lines that somebody else composed.
    #[must_use]
    pub fn of(text: String, summary: impl Into<String>) -> Self {
        Self {
            text,
            summary: summary.into(),
        }
    }

    /// Renews the kernel's lease in both families: add, delete and add again in one batch, because delete alone fails
    /// once the element has expired (`Error: Could not process rule: No such file or directory`).
    ///
    /// Never 0 s, which nft takes for no end.
    #[must_use]
    pub fn lease(seconds: NonZeroU64) -> Self {
        let mut lines = Lines::new(TableFamily::Inet);
        for family in ["ipv4", "ipv6"] {
            let element = format!("{family} timeout {seconds}s");
            lines.element("add", super::super::desired::LEASE, &element);
            lines.element("delete", super::super::desired::LEASE, family);
            lines.element("add", super::super::desired::LEASE, &element);
        }
        Self {
            text: lines.finish(),
            summary: format!("lease for {seconds} s"),
        }
    }

    /// Ends the kernel's lease at once.
    #[must_use]
    pub fn end_lease() -> Self {
        let mut lines = Lines::new(TableFamily::Inet);
        for family in ["ipv4", "ipv6"] {
            lines.element(
                "add",
                super::super::desired::LEASE,
                &format!("{family} timeout 1s"),
            );
            lines.element("delete", super::super::desired::LEASE, family);
        }
        Self {
            text: lines.finish(),
            summary: "end the lease".to_owned(),
        }
    }

    /// Elements of one set or map of the inet table, added or deleted.
    #[must_use]
    pub fn elements<'a>(
        verb: &str,
        set: &str,
        elements: impl IntoIterator<Item = &'a Element>,
    ) -> Self {
        let mut lines = Lines::new(TableFamily::Inet);
        lines.elements(verb, set, elements.into_iter());
        Self {
            text: lines.finish(),
            summary: format!("{verb} elements of {set}"),
        }
    }

    /// This batch followed by another one, as one batch.
    #[must_use]
    pub fn then(mut self, other: &Self) -> Self {
        self.text.push_str(&other.text);
        if self.summary.is_empty() {
            self.summary.clone_from(&other.summary);
        } else if !other.summary.is_empty() {
            self.summary = format!("{}; {}", self.summary, other.summary);
        }
        self
    }

    /// The chains that the batch fills with rules.
    #[must_use]
    pub fn fills(&self) -> BTreeSet<(TableFamily, String)> {
        let families = [TableFamily::Inet, TableFamily::Bridge, TableFamily::Arp];
        self.text
            .lines()
            .filter_map(|line| {
                let rest = line.strip_prefix("add rule ")?;
                let family = families
                    .into_iter()
                    .find(|family| rest.starts_with(family.word()))?;
                Some((family, rest.split(' ').nth(2)?.to_owned()))
            })
            .collect()
    }

    /// Nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The batch in nft's language.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The batch in a few words.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }
}

/// The families of the tables that guard.
const GUARD: [TableFamily; 2] = [TableFamily::Inet, TableFamily::Bridge];

fn replaced(ruleset: &Ruleset, family: TableFamily) -> String {
    let mut lines = Lines::new(family);
    lines.table("add");
    lines.table("delete");
    lines.table("add");
    lines.whole(ruleset.table(family));
    lines.finish()
}

fn removed(family: TableFamily) -> String {
    let mut lines = Lines::new(family);
    lines.table("add");
    lines.table("delete");
    lines.finish()
}

impl fmt::Display for Ruleset {
    /// The whole ruleset as a file for `nft -f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arp = Transaction::replace_arp(self);
        Transaction::replace(self).then(&arp).text().fmt(f)
    }
}
