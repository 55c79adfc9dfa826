//! How the kernel lists our rules: nft prints a rule in words of its own, so what it says of a rule right after we wrote
//! it is what it has to say ever after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::observed::{ObservedFirewall, ObservedTable};
use crate::ruleset::TableFamily;

/// A chain by its table and name.
pub type Place = (TableFamily, String);

/// Expressions of our rules as the kernel listed them right after they were written, by chain and the rule's identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learned(BTreeMap<Place, BTreeMap<String, Value>>);

impl Learned {
    /// Is this how the rule looked right after it was written? A rule that was never learned is not known: somebody
    /// else may have put another one under its comment.
    #[must_use]
    pub fn knows(
        &self,
        family: TableFamily,
        chain: &str,
        identity: &str,
        expressions: &Value,
    ) -> bool {
        let chain = self.0.get(&(family, chain.to_owned()));
        chain.and_then(|rules| rules.get(identity)) == Some(expressions)
    }

    /// Learns the rules of the chains that our own batch has just filled, from what was read right after it.
    ///
    /// A chain that the batch did not fill is not learned anew: what changed in it since was somebody else's doing. A
    /// rule that looks otherwise than it did before it was written again was exchanged at one of the two readings, and
    /// nobody knows at which: it is forgotten, so that it is written once more.
    pub fn learn(&mut self, filled: &BTreeSet<Place>, observed: &ObservedFirewall) {
        let there = |(family, chain): &Place| table(observed, *family)?.chains.get(chain);
        self.0.retain(|place, _| there(place).is_some());
        for place in filled {
            let Some(chain) = there(place) else { continue };
            let before = self.0.remove(place).unwrap_or_default();
            let mut rules: BTreeMap<String, Value> = BTreeMap::new();
            for rule in &chain.rules {
                if let Some(identity) = &rule.comment {
                    rules.insert(identity.clone(), rule.expressions.clone());
                }
            }
            rules.retain(|identity, now| before.get(identity).is_none_or(|then| then == now));
            self.0.insert(place.clone(), rules);
        }
    }
}

const fn table(observed: &ObservedFirewall, family: TableFamily) -> Option<&ObservedTable> {
    match family {
        TableFamily::Inet => observed.inet.as_ref(),
        TableFamily::Bridge => observed.bridge.as_ref(),
        TableFamily::Arp => observed.arp.as_ref(),
    }
}
