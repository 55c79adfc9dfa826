//! The tier `Admin`: which rules of administrators are asked for the pods of each namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_crds::cluster_egress_policy::Tier;
use postern_intent::body::{AdminAction, AdminPolicy, AdminRule, RuleProtocol, Terms};
use postern_intent::{Namespace, Serial};

use crate::index::Index;
use crate::snapshot::{Definitions, SnapshotClusterPolicy};

/// The name of the rule that stands for rules which were refused and never in force.
const NOT_ACCEPTED: &str = "not-accepted";

/// The rules in force for each namespace.
#[derive(Debug, Default)]
pub(crate) struct AdminTier<'a> {
    /// Every policy of the tier with its rules in force, in the order in which they are asked.
    policies: Vec<(&'a SnapshotClusterPolicy, AdminPolicy)>,
    by_namespace: BTreeMap<Namespace, Vec<AdminPolicy>>,
}

impl<'a> AdminTier<'a> {
    /// Settles the rules of every namespace that a policy or a published scope names.
    pub(crate) fn new(index: &Index<'a>, namespaces: BTreeSet<Namespace>) -> Self {
        let published = newest(index);
        let mut policies: Vec<_> = index
            .snapshot
            .cluster_policies
            .iter()
            .filter(|policy| policy.tier == Tier::Admin)
            .map(|policy| (policy, in_force(index, policy)))
            .collect();
        policies.sort_by_key(|(policy, _)| (policy.priority, &policy.name));
        let mut tier = Self {
            policies,
            by_namespace: BTreeMap::new(),
        };
        for namespace in namespaces {
            let standing = published.get(&namespace).map(|(_, list)| list.to_vec());
            let rules = match index.namespaces.get(&namespace) {
                // Its labels went with it, and pods of it may still be there.
                None => standing.unwrap_or_default(),
                Some(found) => {
                    let selected = tier.policies.iter();
                    let selected =
                        selected.filter(|(policy, _)| policy.namespaces.matches(&found.labels));
                    let current = || selected.map(|(_, rules)| rules.clone()).collect();
                    match index.snapshot.admin_definition {
                        Definitions::Serving => current(),
                        // The policies go with their definition, and nobody decided about their rules.
                        Definitions::Terminating => standing.unwrap_or_else(current),
                    }
                }
            };
            tier.by_namespace.insert(namespace, rules);
        }
        tier
    }

    /// The policies whose rules are asked for the pods of a namespace, in their order.
    pub(crate) fn of(&self, namespace: &Namespace) -> &[AdminPolicy] {
        let found = self.by_namespace.get(namespace);
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// What is in force of a policy.
    pub(crate) fn in_force(&self, name: &str) -> Option<&AdminPolicy> {
        let mut policies = self.policies.iter();
        let found = policies.find(|(policy, _)| policy.name == name)?;
        Some(&found.1)
    }
}

/// The rules of a policy. Those of a refused one are the last good ones; where there are none, nothing leaves that no other policy
/// of the tier decided about before.
fn in_force(index: &Index<'_>, policy: &SnapshotClusterPolicy) -> AdminPolicy {
    let current = |rules| AdminPolicy {
        name: policy.name.clone(),
        generation: policy.generation,
        rules,
    };
    match &policy.rules {
        Ok(rules) => current(rules.clone()),
        Err(_) => last_good(index, &policy.name).unwrap_or_else(|| {
            current(vec![AdminRule {
                name: NOT_ACCEPTED.to_owned(),
                action: AdminAction::Deny,
                to: Vec::new(),
                ports: Vec::new(),
            }])
        }),
    }
}

fn last_good(index: &Index<'_>, name: &str) -> Option<AdminPolicy> {
    let documents = index.published.documents.values();
    let scopes = documents.flat_map(|document| &document.firewall);
    let policies = scopes.flat_map(|scope| &scope.terms.admin);
    let newest = policies
        .filter(|policy| policy.name == name)
        .max_by_key(|policy| policy.generation)?;
    Some(newest.clone())
}

/// What the newest document of each namespace's scopes carries, with its serial.
fn newest<'a>(index: &Index<'a>) -> BTreeMap<&'a Namespace, (Serial, &'a [AdminPolicy])> {
    let mut newest: BTreeMap<&Namespace, (Serial, &[AdminPolicy])> = BTreeMap::new();
    for document in index.published.documents.values() {
        for scope in &document.firewall {
            let found = (document.serial, &scope.terms.admin[..]);
            let one = newest.entry(&scope.policy.namespace).or_insert(found);
            if one.0 < found.0 {
                *one = found;
            }
        }
    }
    newest
}

/// The resolvers of a policy that rules of administrators deny. Those of the setting are the administrator's own.
pub(crate) fn denied_upstreams(
    setting: &[SocketAddr],
    admin: &[AdminPolicy],
    terms: &Terms,
) -> Vec<SocketAddr> {
    let is_denied = |resolver: &SocketAddr, protocol| {
        let rule = AdminPolicy::first_match(admin, *resolver, protocol);
        rule.is_some_and(|rule| rule.action == AdminAction::Deny)
    };
    let upstreams = terms.dns.upstreams.iter();
    let tenants = upstreams.filter(|one| !setting.contains(one));
    let denied = tenants
        .filter(|one| is_denied(one, RuleProtocol::Udp) || is_denied(one, RuleProtocol::Tcp));
    denied.copied().collect()
}
