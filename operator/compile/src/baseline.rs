//! The tier `Baseline`: rules of administrators for pods that no EgressPolicy selects.
//!
//! Each namespace of its subjects has one policy of the compiler's own. A pod that would be released comes under this policy instead, and
//! the gate still holds such a pod. Memory, lowering and reports know it as any other policy.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::cluster_egress_policy::Tier;
use postern_crds::conditions::Reason;
use postern_intent::body::{
    Access, DnsTerms, EgressPath, PolicyRef, Rule, Scope, ScopeFailureMode, Terms, TermsAudit,
    TermsDnsMode, TermsDnsRefusal, TermsEnforcement, TermsEstablishedFlows, TermsLimits,
    TermsReplies,
};
use postern_intent::special_use::is_special;
use postern_intent::{BASELINE, Namespace, NodeDocument, NodeName, Serial, Uid};

use crate::snapshot::{
    ClusterPolicyRules, CompilerMemory, CompilerSettings, Definitions, ParsedSelector, PolicyKey,
    PolicyRoute, PolicyTerms, Snapshot, SnapshotClusterPolicy, SnapshotNamespace, SnapshotPolicy,
    SpecRefusal,
};

/// The identity of a namespace's policy. No UID of the API server begins with a hyphen.
pub(crate) fn uid(namespace: &Namespace) -> Option<Uid> {
    format!("-{namespace}").parse().ok()
}

/// Is it the identity of a namespace's policy?
pub(crate) fn is_uid(uid: &Uid) -> bool {
    uid.as_str().starts_with('-')
}

/// Is it the policy that the compiler makes for the tier?
pub(crate) fn is_baseline(policy: &PolicyRef) -> bool {
    policy.name == BASELINE
}

/// The policy of administrators that a rule of the tier comes from.
fn origin(rule: &Rule) -> &str {
    let policy = rule.name.split_once('/');
    policy.map_or("", |(policy, _)| policy)
}

/// The policies of the tier whose rules a scope carries.
#[must_use]
pub fn baseline_policies(scope: &Scope) -> BTreeSet<&str> {
    let rules = scope.terms.rules.iter();
    let rules = rules.filter(|_| is_baseline(&scope.policy));
    rules.map(origin).collect()
}

/// The identity of the namespace's policy, where a policy of the tier is about it.
#[must_use]
pub fn baseline_of(
    settings: &CompilerSettings,
    policies: &[SnapshotClusterPolicy],
    namespace: &SnapshotNamespace,
) -> Option<Uid> {
    let mut policies = policies.iter();
    let is_about = policies.any(|policy| is_subject(settings, policy, namespace));
    is_about.then(|| uid(&namespace.name)).flatten()
}

/// Is the namespace one that a policy of the tier is about?
pub(crate) fn is_subject(
    settings: &CompilerSettings,
    policy: &SnapshotClusterPolicy,
    namespace: &SnapshotNamespace,
) -> bool {
    policy.tier == Tier::Baseline
        && !settings.exempt_namespaces.contains(&namespace.name)
        && policy.namespaces.matches(&namespace.labels)
}

/// The policy of every namespace that has rules of the tier. O(namespaces · policies + scopes of the published documents).
pub(crate) fn policies(snapshot: &Snapshot) -> Vec<SnapshotPolicy> {
    let published = PublishedRules::new(&snapshot.previous);
    let mut ordered: Vec<&SnapshotClusterPolicy> = snapshot.cluster_policies.iter().collect();
    ordered.sort_by(|one, other| (one.priority, &one.name).cmp(&(other.priority, &other.name)));
    let exempt = &snapshot.settings.exempt_namespaces;
    let namespaces = snapshot.namespaces.iter();
    let namespaces = namespaces.filter(|namespace| !exempt.contains(&namespace.name));
    let policies = namespaces.filter_map(|namespace| {
        let standing = published.of_namespace.get(&namespace.name);
        let standing = standing.map(|(_, scope)| *scope);
        let uid = uid(&namespace.name)?;
        let former = FormerTerms {
            standing: standing.map(|scope| &scope.terms),
            published: &published,
            is_known: standing.is_some() || is_remembered(&snapshot.memory, namespace, &uid),
        };
        let (terms, generation) = match snapshot.admin_definition {
            // Deleting the definition deletes its policies; until it is back, namespaces keep their published rules.
            Definitions::Terminating if former.is_known => {
                let generation = standing.map_or(0, |scope| scope.policy.generation);
                (published.kept(standing), generation)
            }
            Definitions::Serving | Definitions::Terminating => {
                let (rules, generation) = rules(snapshot, &ordered, namespace, &former);
                (!rules.is_empty()).then(|| (Ok(terms(rules)), generation))?
            }
        };
        Some(SnapshotPolicy {
            key: PolicyKey {
                namespace: namespace.name.clone(),
                name: BASELINE.to_owned(),
            },
            uid,
            generation,
            selector: ParsedSelector::everything(),
            // Below every one that an EgressPolicy can have.
            priority: -1,
            terms: terms.map(|terms| PolicyTerms {
                route: PolicyRoute::NodeUplink,
                terms,
                failure: ScopeFailureMode::Closed,
            }),
        })
    });
    policies.collect()
}

fn is_remembered(memory: &CompilerMemory, namespace: &SnapshotNamespace, uid: &Uid) -> bool {
    let known = memory.policies.get(&namespace.name);
    known.is_some_and(|known| known.contains_key(uid))
}

/// The rules for one namespace in the order of their policies, and the sum of these policies' generations. An update that is
/// refused takes no rule from a namespace that has it, whatever tier or subject it names; one that was never in force brings none:
/// pods without a policy keep what they had. A namespace that no document carries, because no pod of it runs, or that joined the
/// subject since, has the rules that the policy has in other namespaces: all of them where it is a subject, else those that deny.
fn rules(
    snapshot: &Snapshot,
    ordered: &[&SnapshotClusterPolicy],
    namespace: &SnapshotNamespace,
    former: &FormerTerms<'_>,
) -> (Vec<Rule>, i64) {
    let mut found = (Vec::new(), 0);
    for policy in ordered {
        let rules: Vec<Rule> = match &policy.rules {
            Ok(ClusterPolicyRules::Baseline(rules))
                if is_subject(&snapshot.settings, policy, namespace) =>
            {
                let named = |rule: &Rule| Rule {
                    name: format!("{}/{}", policy.name, rule.name),
                    ..rule.clone()
                };
                rules.iter().map(named).collect()
            }
            Ok(ClusterPolicyRules::Admin(_) | ClusterPolicyRules::Baseline(_)) => continue,
            Err(_) => {
                let is_subject = is_subject(&snapshot.settings, policy, namespace);
                let is_of = |rule: &&Rule| origin(rule) == policy.name;
                let own = former.standing.map(|terms| &terms.rules[..]);
                let own = own.filter(|rules| rules.iter().any(|rule| is_of(&rule)));
                let may_copy = is_subject || former.is_known && former.standing.is_none();
                let elsewhere = || former.published.of_policy.get(&policy.name[..]);
                let copied = || may_copy.then(elsewhere).flatten();
                let rules = own.or_else(|| copied().map(|(_, scope)| &scope.terms.rules[..]));
                // A copied rule opens nothing in a namespace that may never have been a subject.
                let keeps = |rule: &&Rule| {
                    is_of(rule) && (own.is_some() || is_subject || rule.action == Access::Deny)
                };
                let rules = rules.unwrap_or_default().iter();
                rules.filter(keeps).cloned().collect()
            }
        };
        if !rules.is_empty() {
            found.0.extend(rules);
            found.1 += policy.generation;
        }
    }
    found
}

/// What the rules leave open leaves by the uplink of the node, but for what that route refuses in general. A range of special use that a
/// rule allows with all ports is an exception, as `specialUse.exceptions` of an EgressPolicy is. Open connections go on when a rule
/// changes: one edit would end those of all pods of the cluster.
fn terms(rules: Vec<Rule>) -> Terms {
    // An exception has no ports: what a rule allows on some would be open on all.
    let is_whole = |rule: &&Rule| rule.action == Access::Allow && rule.ports.is_empty();
    let named = rules.iter().filter(is_whole).flat_map(|rule| &rule.to);
    let exceptions: BTreeSet<_> = named.filter(|prefix| is_special(prefix)).copied().collect();
    let has_names = rules.iter().any(|rule| !rule.names.is_empty());
    Terms {
        admin: Vec::new(),
        default_action: Access::Allow,
        replies: TermsReplies::Services,
        lan: Access::Allow,
        special_use_exceptions: exceptions.into_iter().collect(),
        established_flows: TermsEstablishedFlows::Keep,
        dns: DnsTerms {
            mode: match has_names {
                true => TermsDnsMode::Filter,
                false => TermsDnsMode::Forward,
            },
            upstreams: Vec::new(),
            refusal: TermsDnsRefusal::NxDomain,
        },
        limits: TermsLimits::default(),
        enforcement: TermsEnforcement::Enforce,
        audit: TermsAudit::None,
        rules,
    }
}

/// What was in force for a namespace.
struct FormerTerms<'a> {
    /// In the newest document that has a pod of it.
    standing: Option<&'a Terms>,
    published: &'a PublishedRules<'a>,
    /// Whether the namespace had rules of the tier.
    is_known: bool,
}

/// Scopes of the tier by the newest document that has them.
#[derive(Default)]
struct PublishedRules<'a> {
    of_namespace: BTreeMap<&'a Namespace, (Serial, &'a Scope)>,
    /// Of any namespace whose terms have a rule of the policy.
    of_policy: BTreeMap<&'a str, (Serial, &'a Scope)>,
}

impl<'a> PublishedRules<'a> {
    fn new(documents: &'a BTreeMap<NodeName, NodeDocument>) -> Self {
        let mut all = Self::default();
        for document in documents.values() {
            // A scope that is blocked has no rules of its own.
            let in_force =
                |scope: &&Scope| is_baseline(&scope.policy) && scope.way == EgressPath::NodeUplink;
            for scope in document.firewall.iter().filter(in_force) {
                let found = (document.serial, scope);
                keep_newest(&mut all.of_namespace, &scope.policy.namespace, found);
                for policy in baseline_policies(scope) {
                    keep_newest(&mut all.of_policy, policy, found);
                }
            }
        }
        all
    }

    /// What stays in force for a namespace without a policy of the tier. One that no document carries has the rules of another
    /// namespace without their exceptions, and where there are none no way out.
    fn kept(&self, standing: Option<&Scope>) -> Result<Terms, SpecRefusal> {
        let newest = self.of_namespace.values().max_by_key(|(serial, _)| *serial);
        let of_other = || {
            newest.map(|(_, scope)| Terms {
                special_use_exceptions: Vec::new(),
                ..scope.terms.clone()
            })
        };
        let kept = standing.map(|scope| scope.terms.clone()).or_else(of_other);
        // The resolvers of the setting are filled in anew.
        let without_resolvers = |mut terms: Terms| {
            terms.dns.upstreams.clear();
            terms
        };
        kept.map(without_resolvers).ok_or_else(|| SpecRefusal {
            reason: Reason::RefNotFound,
            message: "the definition of ClusterEgressPolicy is being deleted".to_owned(),
        })
    }
}

fn keep_newest<K: Ord, T>(all: &mut BTreeMap<K, (Serial, T)>, key: K, found: (Serial, T)) {
    match all.get_mut(&key) {
        Some(one) if one.0 >= found.0 => {}
        Some(one) => *one = found,
        None => {
            all.insert(key, found);
        }
    }
}
