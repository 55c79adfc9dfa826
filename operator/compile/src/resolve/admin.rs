//! The tier `Admin`: which rules of administrators are asked for the pods of each namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_crds::cluster_egress_policy::Tier;
use postern_intent::body::{AdminAction, AdminPolicy, AdminRule, RuleProtocol, Terms};
use postern_intent::{Namespace, Serial};

use crate::baseline::baseline_policies;
use crate::budget::is_emptied;
use crate::index::Index;
use crate::snapshot::{ClusterPolicyRules, Definitions, SnapshotClusterPolicy, SnapshotNamespace};

/// The name of the rule that stands for rules which were refused and never in force.
const NOT_ACCEPTED: &str = "not-accepted";

/// The rules in force for each namespace.
#[derive(Debug, Default)]
pub(crate) struct AdminTier<'a> {
    /// The rules in force of every policy; none for a policy of tier `Baseline`.
    policies: BTreeMap<&'a str, Option<AdminPolicy>>,
    by_namespace: BTreeMap<Namespace, Vec<AdminPolicy>>,
}

impl<'a> AdminTier<'a> {
    /// Settles the rules of every namespace that a policy or a published scope names. O(namespaces · policies).
    pub(crate) fn new(index: &Index<'a>, namespaces: BTreeSet<Namespace>) -> Self {
        let published = newest(index);
        let all = &index.snapshot.cluster_policies;
        let mut tier = Self {
            policies: all
                .iter()
                .map(|policy| (&policy.name[..], in_force(index, policy)))
                .collect(),
            by_namespace: BTreeMap::new(),
        };
        for namespace in namespaces {
            let standing = published.get(&namespace).map(|(_, list)| *list);
            let rules = match index.namespaces.get(&namespace) {
                // Its labels went with it, and pods of it may still be there.
                None => standing.unwrap_or_default().to_vec(),
                Some(found) => match (index.snapshot.admin_definition, standing) {
                    // Deleting the definition deletes its policies; until it is back, namespaces keep their published rules.
                    (Definitions::Terminating, Some(standing)) => standing.to_vec(),
                    (Definitions::Serving | Definitions::Terminating, _) => {
                        tier.current(all, found, standing.unwrap_or_default())
                    }
                },
            };
            tier.by_namespace.insert(namespace, rules);
        }
        tier
    }

    /// The policies of a namespace, in their order. An update that is refused takes no rule from a namespace that has it, whatever
    /// tier or subject it names.
    fn current(
        &self,
        all: &[SnapshotClusterPolicy],
        namespace: &SnapshotNamespace,
        standing: &[AdminPolicy],
    ) -> Vec<AdminPolicy> {
        let is_asked = |policy: &&SnapshotClusterPolicy| {
            let is_subject = policy.namespaces.matches(&namespace.labels);
            let has = || standing.iter().any(|one| one.name == policy.name);
            policy.tier == Tier::Admin && is_subject || policy.rules.is_err() && has()
        };
        let asked = all.iter().filter(is_asked);
        let mut rules: Vec<AdminPolicy> = asked
            .filter_map(|policy| self.in_force(&policy.name).cloned())
            .collect();
        rules.sort_by(|one, other| (one.priority, &one.name).cmp(&(other.priority, &other.name)));
        rules
    }

    /// The policies whose rules are asked for the pods of a namespace, in their order.
    pub(crate) fn of(&self, namespace: &Namespace) -> &[AdminPolicy] {
        let found = self.by_namespace.get(namespace);
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// What is in force of a policy.
    pub(crate) fn in_force(&self, name: &str) -> Option<&AdminPolicy> {
        self.policies.get(name)?.as_ref()
    }
}

/// The rules of a policy. Those of a refused one are the last good ones; where there are none, nothing leaves that no other policy
/// of the tier decided about before.
fn in_force(index: &Index<'_>, policy: &SnapshotClusterPolicy) -> Option<AdminPolicy> {
    let current = |rules| AdminPolicy {
        name: policy.name.clone(),
        generation: policy.generation,
        priority: policy.priority,
        rules,
    };
    match (&policy.rules, policy.tier) {
        (Ok(ClusterPolicyRules::Admin(rules)), _) => Some(current(rules.clone())),
        (Ok(ClusterPolicyRules::Baseline(_)), _) => None,
        (Err(_), tier) => last_good(index, &policy.name).or_else(|| {
            (tier == Tier::Admin && !was_baseline(index, &policy.name)).then(|| {
                current(vec![AdminRule {
                    name: NOT_ACCEPTED.to_owned(),
                    action: AdminAction::Deny,
                    to: Vec::new(),
                    ports: Vec::new(),
                }])
            })
        }),
    }
}

/// Do published rules of tier Baseline come from the policy? They stay in force, and a denial of everything would take more.
fn was_baseline(index: &Index<'_>, name: &str) -> bool {
    let documents = index.published.documents.values();
    let mut scopes = documents.flat_map(|document| &document.firewall);
    scopes.any(|scope| baseline_policies(scope).contains(name))
}

/// The policy in the newest document that has it.
fn last_good(index: &Index<'_>, name: &str) -> Option<AdminPolicy> {
    let documents = index.published.documents.values();
    let scopes = documents.flat_map(|document| {
        let scopes = document.firewall.iter();
        scopes.map(|scope| (document.serial, scope))
    });
    let policies = scopes.flat_map(|(serial, scope)| {
        let policies = scope.terms.admin.iter();
        policies.map(move |policy| (serial, policy))
    });
    let (_, newest) = policies
        .filter(|(_, policy)| policy.name == name)
        .max_by_key(|(serial, _)| *serial)?;
    Some(newest.clone())
}

/// What the newest document of each namespace's scopes carries, with its serial. A scope that was too large is skipped, because
/// its rules were removed.
fn newest<'a>(index: &Index<'a>) -> BTreeMap<&'a Namespace, (Serial, &'a [AdminPolicy])> {
    let mut newest: BTreeMap<&Namespace, (Serial, &[AdminPolicy])> = BTreeMap::new();
    for document in index.published.documents.values() {
        let scopes = document.firewall.iter();
        for scope in scopes.filter(|scope| !is_emptied(scope)) {
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
