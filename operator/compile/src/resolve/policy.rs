//! Policies: the exit and the rules in force for each that selects something.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_crds::conditions::Reason;
use postern_intent::body::{
    Access, BlockedReason, EgressPath, PolicyRef, Scope, ScopeFailureMode, Terms, TermsEnforcement,
};
use postern_intent::special_use::is_private;
use postern_intent::{ExitName, Namespace, Prefix, Uid};

use super::exit::{ExitState, ExitUsers, ResolvedExits};
use crate::baseline::is_baseline;
use crate::index::Index;
use crate::select::{Contender, Contenders};
use crate::snapshot::{Ceiling, CompilerSettings, ExitNamespaces, Permission, PolicyRoute};

/// The plan of every contender, by the policy's UID.
pub(crate) struct PolicyPlans {
    by_uid: BTreeMap<Uid, PolicyPlan>,
}

/// What becomes of the pods of one policy.
pub(crate) struct PolicyPlan {
    /// The policy as the document names it, in the generation that is in force.
    pub(crate) policy: PolicyRef,
    /// Where its pods leave.
    pub(crate) way: PlannedPath,
    /// What they may do.
    pub(crate) terms: Terms,
    /// What may happen when the exit is lost.
    pub(crate) failure: ScopeFailureMode,
    /// Where that comes from.
    pub(crate) source: TermsSource,
}

/// Where the pods of a policy leave, before any node is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedPath {
    Exit(ExitName),
    /// By the uplink of each pod's node.
    NodeUplink,
    Blocked(BlockedReason),
}

impl PlannedPath {
    /// The exit, if there is one.
    pub(crate) const fn exit(&self) -> Option<&ExitName> {
        match self {
            Self::Exit(exit) => Some(exit),
            Self::NodeUplink | Self::Blocked(_) => None,
        }
    }
}

/// Where terms come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TermsSource {
    /// The policy as it is now.
    Current,
    /// The published documents: the policy went, or an update of it is refused.
    LastGood,
    /// Nowhere: the policy was never accepted.
    Nothing,
}

impl PolicyPlans {
    pub(crate) fn new(
        index: &Index<'_>,
        contenders: &Contenders<'_>,
        exits: &ResolvedExits<'_>,
    ) -> Self {
        let plans = contenders
            .iter()
            .map(|one| (one.uid.clone(), plan(index, exits, one)));
        Self {
            by_uid: plans.collect(),
        }
    }

    /// The plan of a policy.
    pub(crate) fn get(&self, policy: &Uid) -> Option<&PolicyPlan> {
        self.by_uid.get(policy)
    }
}

fn plan(index: &Index<'_>, exits: &ResolvedExits<'_>, one: &Contender<'_>) -> PolicyPlan {
    let accepted = one.policy.and_then(|policy| policy.terms.as_ref().ok());
    let last_good = index.published.last_good(&one.uid);
    let reference = |generation| PolicyRef {
        namespace: one.key.namespace.clone(),
        name: one.key.name.clone(),
        uid: one.uid.clone(),
        generation,
    };
    match (accepted, last_good) {
        (Some(terms), last_good) => PolicyPlan {
            policy: reference(one.generation),
            way: path(index, exits, &one.key.namespace, &terms.route, last_good),
            terms: current(index, &terms.terms),
            failure: terms.failure,
            source: TermsSource::Current,
        },
        // What an administrator wrote is held against no ceiling of tenants.
        (None, Some(last_good)) if is_baseline(&last_good.policy) => PolicyPlan {
            policy: reference(last_good.policy.generation),
            way: PlannedPath::NodeUplink,
            terms: last_good.terms.clone(),
            failure: last_good.failure,
            source: TermsSource::LastGood,
        },
        (None, Some(last_good)) => PolicyPlan {
            policy: reference(last_good.policy.generation),
            way: standing_path(index, exits, one, last_good),
            // The exit's half of the LAN permission is checked again when the scope is lowered.
            terms: within(
                &index.snapshot.settings,
                &one.key.namespace,
                last_good.terms.clone(),
            ),
            // A ceiling that is withheld closes also what was accepted before.
            failure: match ceiling(index, one).fail_open {
                Permission::Granted => last_good.failure,
                Permission::Withheld => ScopeFailureMode::Closed,
            },
            source: TermsSource::LastGood,
        },
        (None, None) => PolicyPlan {
            policy: reference(one.generation),
            way: PlannedPath::Blocked(refusal(one)),
            terms: Terms::nothing(),
            failure: ScopeFailureMode::Closed,
            source: TermsSource::Nothing,
        },
    }
}

fn ceiling<'a>(index: &'a Index<'_>, one: &Contender<'_>) -> &'a Ceiling {
    index.snapshot.settings.ceiling_of(&one.key.namespace)
}

/// The terms of before without what the administrator withholds now.
fn within(settings: &CompilerSettings, namespace: &Namespace, mut terms: Terms) -> Terms {
    let ceiling = settings.ceiling_of(namespace);
    if ceiling.lan == Permission::Withheld {
        terms.lan = Access::Deny;
        // A rule without destinations means every one: one that loses its last goes as a whole.
        terms.rules.retain_mut(|rule| {
            let narrows = rule.action == Access::Allow && !rule.is_everywhere();
            if narrows {
                rule.to.retain(|to| !is_private(to));
            }
            !narrows || !rule.is_everywhere()
        });
    }
    if ceiling.special_use == Permission::Withheld {
        terms.special_use_exceptions.clear();
    }
    if ceiling.observe == Permission::Withheld {
        terms.enforcement = TermsEnforcement::Enforce;
    }
    // The administrator's own resolvers are in the terms of a policy that names none, also private ones.
    let is_withheld = |one: &SocketAddr| {
        let is_lan = || is_private(&Prefix::host(one.ip()));
        !settings.dns_upstreams.contains(one)
            && (ceiling.upstreams == Permission::Withheld
                || ceiling.lan == Permission::Withheld && is_lan())
    };
    let upstreams = &mut terms.dns.upstreams;
    if upstreams.iter().any(is_withheld) {
        upstreams.retain(|one| !is_withheld(one));
        by_setting(&mut terms, settings);
    }
    terms
}

fn refusal(one: &Contender<'_>) -> BlockedReason {
    match one.policy.map(|policy| &policy.terms) {
        Some(Err(refusal)) if refusal.reason == Reason::NotImplemented => {
            BlockedReason::NotImplemented
        }
        Some(_) => BlockedReason::PolicyRefused,
        None => BlockedReason::ReleaseHeld,
    }
}

/// By the route of the accepted policy, else by that of the published scope. A ceiling that is withheld closes also what was
/// accepted before.
fn standing_path(
    index: &Index<'_>,
    exits: &ResolvedExits<'_>,
    one: &Contender<'_>,
    last_good: &Scope,
) -> PlannedPath {
    let published = || match last_good.way {
        EgressPath::NodeUplink => PolicyRoute::NodeUplink,
        EgressPath::Tunnel | EgressPath::LocalExit | EgressPath::Blocked { .. } => {
            PolicyRoute::Exits(last_good.exit.iter().cloned().collect())
        }
    };
    let route = one.route.clone().unwrap_or_else(published);
    match (&route, ceiling(index, one).node_uplink) {
        (PolicyRoute::NodeUplink, Permission::Withheld) => {
            PlannedPath::Blocked(BlockedReason::PolicyRefused)
        }
        _ => path(index, exits, &one.key.namespace, &route, Some(last_good)),
    }
}

fn path(
    index: &Index<'_>,
    exits: &ResolvedExits<'_>,
    namespace: &Namespace,
    route: &PolicyRoute,
    last_good: Option<&Scope>,
) -> PlannedPath {
    match route {
        PolicyRoute::Exits(wanted) => first_exit(index, exits, namespace, wanted, last_good),
        PolicyRoute::NodeUplink => PlannedPath::NodeUplink,
    }
}

/// The first exit of the list that may be used and has an active gateway.
fn first_exit(
    index: &Index<'_>,
    exits: &ResolvedExits<'_>,
    namespace: &Namespace,
    wanted: &[ExitName],
    last_good: Option<&Scope>,
) -> PlannedPath {
    let mut why = BlockedReason::NoExit;
    for name in wanted {
        let reason = match exits.get(name) {
            Some(ExitState::Active(active)) => match &active.offer.users {
                ExitUsers::Allowed(allowed) if may_use(index, allowed, namespace) => {
                    return PlannedPath::Exit(name.clone());
                }
                ExitUsers::Standing
                    if last_good.and_then(|scope| scope.exit.as_ref()) == Some(name) =>
                {
                    return PlannedPath::Exit(name.clone());
                }
                ExitUsers::Allowed(_) | ExitUsers::Standing => BlockedReason::RefNotResolved,
            },
            Some(ExitState::Refused(refusal)) if refusal.reason == Reason::NotImplemented => {
                BlockedReason::NotImplemented
            }
            Some(
                ExitState::Refused(_)
                | ExitState::NoGateway
                | ExitState::Off
                | ExitState::NoNumber(_)
                | ExitState::NoSession(_),
            )
            | None => BlockedReason::NoExit,
        };
        if why == BlockedReason::NoExit {
            why = reason;
        }
    }
    PlannedPath::Blocked(why)
}

pub(crate) fn may_use(index: &Index<'_>, allowed: &ExitNamespaces, namespace: &Namespace) -> bool {
    match allowed {
        ExitNamespaces::All => true,
        ExitNamespaces::Selector(selector) => index
            .namespaces
            .get(namespace)
            .is_some_and(|found| selector.matches(&found.labels)),
    }
}

fn current(index: &Index<'_>, asked: &Terms) -> Terms {
    let mut terms = asked.clone();
    by_setting(&mut terms, &index.snapshot.settings);
    terms
}

/// The resolvers of the setting, where the policy has none that may be asked.
pub(crate) fn by_setting(terms: &mut Terms, settings: &CompilerSettings) {
    if terms.dns.upstreams.is_empty() {
        terms.dns.upstreams.clone_from(&settings.dns_upstreams);
    }
}
