//! The tier `Baseline`: rules of administrators for pods that no EgressPolicy selects.
//!
//! Each namespace of its subjects has one policy of the compiler's own. It takes the place of a release: whatever lets a pod go, the
//! policy has it instead, and nothing that holds a release is passed by. Memory, lowering and reports know it as any other policy.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::cluster_egress_policy::Tier;
use postern_crds::conditions::Reason;
use postern_intent::body::{
    Access, DnsTerms, PolicyRef, Rule, Scope, ScopeFailureMode, Terms, TermsAudit, TermsDnsMode,
    TermsDnsRefusal, TermsEnforcement, TermsEstablishedFlows, TermsLimits, TermsReplies,
};
use postern_intent::special_use::is_special;
use postern_intent::{BASELINE, Namespace, NodeDocument, NodeName, Serial, Uid};

use crate::budget::is_emptied;
use crate::snapshot::{
    ClusterPolicyRules, CompilerMemory, CompilerSettings, Definitions, ParsedSelector, PolicyKey,
    PolicyRoute, PolicyTerms, Snapshot, SnapshotClusterPolicy, SnapshotNamespace, SnapshotPolicy,
    SpecRefusal,
};

/// The identity of a namespace's policy. No UID of the API server begins with a hyphen.
pub(crate) fn uid(namespace: &Namespace) -> Option<Uid> {
    format!("-{namespace}").parse().ok()
}

/// Is the policy the one that stands for the tier?
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
    let published = published(&snapshot.previous);
    let mut ordered: Vec<&SnapshotClusterPolicy> = snapshot.cluster_policies.iter().collect();
    ordered.sort_by(|one, other| (one.priority, &one.name).cmp(&(other.priority, &other.name)));
    let policies = snapshot.namespaces.iter().filter_map(|namespace| {
        let standing = published.get(&namespace.name).map(|(_, terms)| *terms);
        let uid = uid(&namespace.name)?;
        let is_known = standing.is_some() || is_remembered(&snapshot.memory, namespace, &uid);
        let (terms, generation) = match snapshot.admin_definition {
            // Deleting the definition deletes its policies; until it is back, namespaces keep their published rules.
            Definitions::Terminating if is_known => (kept(standing), 0),
            Definitions::Serving | Definitions::Terminating => {
                let (rules, generation) = rules(snapshot, &ordered, namespace, standing);
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

/// The published terms. A namespace that had rules and of which no document carries them has no way out.
fn kept(standing: Option<&Terms>) -> Result<Terms, SpecRefusal> {
    let without_admin = |terms: &Terms| Terms {
        admin: Vec::new(),
        ..terms.clone()
    };
    standing.map(without_admin).ok_or_else(|| SpecRefusal {
        reason: Reason::RefNotFound,
        message: "the definition of ClusterEgressPolicy is being deleted".to_owned(),
    })
}

/// The rules for one namespace in the order of their policies, and the sum of these policies' generations. An update that is
/// refused takes no rule from a namespace that has it, whatever tier or subject it names; one that was never in force brings none:
/// pods without a policy keep what they had.
fn rules(
    snapshot: &Snapshot,
    ordered: &[&SnapshotClusterPolicy],
    namespace: &SnapshotNamespace,
    standing: Option<&Terms>,
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
                let standing = standing.into_iter().flat_map(|terms| &terms.rules);
                let own = standing.filter(|rule| origin(rule) == policy.name);
                own.cloned().collect()
            }
        };
        if !rules.is_empty() {
            found.0.extend(rules);
            found.1 += policy.generation;
        }
    }
    found
}

/// What the rules leave open stays as it is without a policy, but for what the route by the node's uplink refuses in general. A range of
/// special use that a rule allows is an exception, as `specialUse.exceptions` of an EgressPolicy is.
fn terms(rules: Vec<Rule>) -> Terms {
    let allowed = rules.iter().filter(|rule| rule.action == Access::Allow);
    let named = allowed.flat_map(|rule| &rule.to);
    let exceptions: BTreeSet<_> = named.filter(|prefix| is_special(prefix)).copied().collect();
    let has_names = rules.iter().any(|rule| !rule.names.is_empty());
    Terms {
        admin: Vec::new(),
        default_action: Access::Allow,
        replies: TermsReplies::Services,
        lan: Access::Allow,
        special_use_exceptions: exceptions.into_iter().collect(),
        established_flows: TermsEstablishedFlows::Cut,
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

/// What the newest document says of each namespace.
fn published(
    documents: &BTreeMap<NodeName, NodeDocument>,
) -> BTreeMap<&Namespace, (Serial, &Terms)> {
    let mut newest: BTreeMap<&Namespace, (Serial, &Terms)> = BTreeMap::new();
    for document in documents.values() {
        let scopes = document.firewall.iter();
        for scope in scopes.filter(|scope| is_baseline(&scope.policy) && !is_emptied(scope)) {
            let found = (document.serial, &scope.terms);
            let one = newest.entry(&scope.policy.namespace).or_insert(found);
            if one.0 < found.0 {
                *one = found;
            }
        }
    }
    newest
}
