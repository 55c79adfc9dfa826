//! Which rules of a scope allow a name, and which addresses an answer may bring.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{Access, Scope, Terms};
use postern_intent::special_use::embedding;
use postern_intent::{Address, Prefix};

use super::ClusterView;
use super::firewall::names::granted_set;
use super::ranges::{lan_ranges, special_ranges};
use crate::host::Family;

/// The rules of a scope that allow names. A question is looked up in O(labels · log names).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameRules {
    rules: Vec<NamedRule>,
    /// Places in `rules` by a name itself.
    exact: BTreeMap<String, BTreeSet<usize>>,
    /// Places in `rules` by the name of which every name below is allowed.
    below: BTreeMap<String, BTreeSet<usize>>,
}

/// A rule that allows names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRule {
    /// The name of the rule.
    pub name: String,
    /// The sets of its granted addresses.
    pub sets: BTreeMap<Family, String>,
}

impl NameRules {
    /// Those of a scope.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        let mut found = Self::default();
        let rules = scope.terms.rules.iter();
        for rule in rules.filter(|rule| !rule.names.is_empty()) {
            let place = found.rules.len();
            for pattern in &rule.names {
                let (map, name) = match pattern.below() {
                    Some(top) => (&mut found.below, top),
                    None => (&mut found.exact, pattern.as_str()),
                };
                map.entry(name.to_owned()).or_default().insert(place);
            }
            let sets = Family::BOTH.map(|family| (family, granted_set(&scope.id, rule, family)));
            found.rules.push(NamedRule {
                name: rule.name.clone(),
                sets: sets.into(),
            });
        }
        found
    }

    /// The rules that allow any name, in their order.
    #[must_use]
    pub fn rules(&self) -> &[NamedRule] {
        &self.rules
    }

    /// The rules that allow a name, which is in canonical form. A name with an escape (RFC 1035, section 5.1) is no rule's: the
    /// dot of `x\.example` is part of a label and begins no name below `example`.
    #[must_use]
    pub fn allowing(&self, name: &str) -> Vec<&NamedRule> {
        if name.contains('\\') {
            return Vec::new();
        }
        let mut places = self.exact.get(name).cloned().unwrap_or_default();
        for (dot, _) in name.match_indices('.') {
            let top = name.get(dot + 1..).unwrap_or_default();
            places.extend(self.below.get(top).into_iter().flatten());
        }
        let places = places.into_iter();
        places.filter_map(|place| self.rules.get(place)).collect()
    }
}

/// Addresses that no answer brings, whatever the name: those of the cluster, in every form in which an exit's network would
/// take them for such ones.
pub(super) fn never_granted(cluster: &ClusterView, ranges: &[Prefix]) -> Vec<Prefix> {
    let hosts = cluster.api_servers.iter().map(|server| server.ip());
    let mut all = ranges.to_vec();
    all.extend(hosts.map(Prefix::host));
    all.extend(embedding(&all));
    all
}

/// May an answer bring this address? Exceptions for special use are for addresses that a rule names, and are no permission for
/// whoever owns a name.
pub(super) fn may_bring(terms: &Terms, never: &[Prefix], address: &Address) -> bool {
    let family = Family::of(address);
    let within = |ranges: &[Prefix]| ranges.iter().any(|range| range.contains(address));
    !within(never)
        && !within(&special_ranges(family))
        && (terms.lan == Access::Allow || !within(&lan_ranges(family)))
}
