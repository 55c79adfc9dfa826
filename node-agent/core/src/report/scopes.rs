//! What each scope of the body does whose guard the kernel was read for.

use std::collections::BTreeSet;

use postern_crds::node_report::{
    DeniedCount, OBSERVED_LISTED, RuleCount, SCOPES_LISTED, ScopePods, ScopePolicy, ScopeReport,
};
use postern_intent::body::{EgressPath, PolicyRef, Scope, TermsEnforcement};
use postern_intent::{Body, ScopeId};
use postern_plan::check::Seal;
use postern_plan::desired::{AddressClass, names};
use postern_plan::observed::ObservedTable;

use super::ReportInputs;
use crate::posture::scope_posture;
use crate::read_back::ReadBack;
use crate::scope_status::ScopeStatus;

/// What single rules of a scope counted, in packets: those that counted nothing too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeRuleCounts<'a> {
    pub policy: &'a PolicyRef,
    /// What rules and the default action would have refused of a policy that only observes.
    pub observed: Vec<RuleCount>,
    /// What rules of administrators refused.
    pub denied: Vec<DeniedCount>,
}

impl<'a> ScopeRuleCounts<'a> {
    /// Those of a scope in `table inet postern`; none: it was not read.
    #[must_use]
    pub fn of(scope: &'a Scope, table: Option<&ObservedTable>) -> Self {
        let packets = |counter: &str| table?.counters.get(counter).copied();
        let rules = scope.terms.rules.iter().map(Some).chain([None]);
        let observed = rules.filter_map(|rule| {
            Some(RuleCount {
                rule: rule.map(|rule| rule.name.clone()),
                packets: packets(&names::observed(&scope.id, rule))?,
            })
        });
        let policies = scope.terms.admin.iter();
        let rules = policies.flat_map(|policy| policy.denying().map(move |rule| (policy, rule)));
        let denied = rules.filter_map(|(policy, rule)| {
            Some(DeniedCount {
                policy: policy.name.clone(),
                rule: rule.name.clone(),
                packets: packets(&names::denied(&scope.id, policy, rule))?,
            })
        });
        Self {
            policy: &scope.policy,
            observed: observed.collect(),
            denied: denied.collect(),
        }
    }
}

impl ReportInputs<'_> {
    /// Of each scope, in the order of the body.
    pub(super) fn rule_counts(&self) -> Vec<ScopeRuleCounts<'_>> {
        let body = self.read_back.and_then(ReadBack::body);
        let scopes = body.into_iter().flat_map(|body| &body.firewall);
        let observed = self.read_back.map(ReadBack::observed);
        let table = observed.and_then(|observed| observed.firewall.inet.as_ref());
        let counts = scopes.map(|scope| ScopeRuleCounts::of(scope, table));
        counts.collect()
    }

    pub(super) fn scope_reports(&self, counts: &[ScopeRuleCounts<'_>]) -> Vec<ScopeReport> {
        let Some((read_back, body)) = self.read_back.and_then(|one| Some((one, one.body()?)))
        else {
            return Vec::new();
        };
        let scopes = body.firewall.iter().zip(counts);
        let reports = scopes.filter_map(|(scope, counts)| {
            let report = self.scope_report(read_back, body, scope)?;
            let observed = counts.observed.iter();
            let denied = counts.denied.iter();
            Some(ScopeReport {
                observed: observed.filter(|rule| rule.packets > 0).cloned().collect(),
                denied: denied.filter(|rule| rule.packets > 0).cloned().collect(),
                ..report
            })
        });
        let mut reports: Vec<ScopeReport> = reports.take(SCOPES_LISTED).collect();
        let (mut room, mut room_for_denied) = (OBSERVED_LISTED, OBSERVED_LISTED);
        for report in &mut reports {
            report.observed.truncate(room);
            room -= report.observed.len();
            report.denied.truncate(room_for_denied);
            room_for_denied -= report.denied.len();
        }
        reports
    }

    /// One scope with each count of its rules, however many scopes the node has.
    #[must_use]
    pub fn scope_with_counts(&self, id: &ScopeId) -> Option<ScopeReport> {
        let read_back = self.read_back?;
        let body = read_back.body()?;
        let scope = body.firewall.iter().find(|scope| scope.id == *id)?;
        let counts = ScopeRuleCounts::of(scope, read_back.observed().firewall.inet.as_ref());
        Some(ScopeReport {
            observed: counts.observed,
            denied: counts.denied,
            ..self.scope_report(read_back, body, scope)?
        })
    }

    fn scope_report(
        &self,
        read_back: &ReadBack,
        body: &Body,
        scope: &Scope,
    ) -> Option<ScopeReport> {
        let status = *self.run.scopes.get(&scope.id)?;
        let pods = read_back
            .desired()
            .classes
            .values()
            .filter(|classified| classified.class == AddressClass::Scope(scope.id.clone()))
            .map(|classified| &classified.uid)
            .collect::<BTreeSet<_>>();
        let number = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        let by_passing = self.bypassed_pods();
        let passing = pods.iter().filter(|uid| by_passing.contains_key(**uid));
        let passing = number(passing.count());
        let count = number(pods.len()) - passing;
        // What is open, and what could not be blocked, is never counted as blocked.
        let observes = scope.terms.enforcement == TermsEnforcement::Observe;
        let pods = match status {
            ScopeStatus::Enforcing | ScopeStatus::Observing | ScopeStatus::Degraded => {
                (count, 0, 0)
            }
            ScopeStatus::FailedOpen { .. } => (0, 0, 0),
            ScopeStatus::Blocked {
                seal: Seal::NotSealed,
                ..
            } => (0, 0, count),
            _ => (0, count, 0),
        };
        let (leaving, blocked, unenforceable) = pods;
        let (enforced, observed) = match observes {
            true => (0, leaving),
            false => (leaving, 0),
        };
        let exit = match scope.way {
            EgressPath::Tunnel | EgressPath::LocalExit => {
                scope.exit.as_ref().map(ToString::to_string)
            }
            EgressPath::NodeUplink | EgressPath::Blocked { .. } => None,
        };
        Some(ScopeReport {
            id: scope.id.to_string(),
            digest: Some(scope.digest.to_string()),
            resolvers: self.resolver_state(scope),
            silent_resolvers: self.silent_resolvers(scope),
            posture: scope_posture(
                body,
                scope,
                &read_back.desired().ruleset,
                read_back.seal(),
                self.run.lease,
            ),
            state: status.state(),
            reason: status.reported_reason().map(|reason| reason.to_string()),
            policy: Some(ScopePolicy {
                namespace: scope.policy.namespace.to_string(),
                name: scope.policy.name.clone(),
                uid: scope.policy.uid.to_string(),
                generation: scope.policy.generation,
            }),
            exit,
            pods: Some(ScopePods {
                enforced,
                observed,
                blocked,
                unenforceable: unenforceable + passing,
            }),
            observed: Vec::new(),
            denied: Vec::new(),
        })
    }
}
