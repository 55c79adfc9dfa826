//! What each scope of the body does whose guard the kernel was read for.

use std::collections::{BTreeMap, BTreeSet};

use postern_crds::node_report::{
    DeniedCount, OBSERVED_LISTED, RuleCount, SCOPES_LISTED, ScopePods, ScopePolicy, ScopeReport,
};
use postern_intent::body::{EgressPath, PolicyRef, Scope, TermsEnforcement};
use postern_intent::{Body, Namespace};
use postern_plan::check::Seal;
use postern_plan::desired::{AddressClass, names};

use super::ReportInputs;
use crate::posture::scope_posture;
use crate::read_back::ReadBack;
use crate::scope_status::ScopeStatus;

impl ReportInputs<'_> {
    pub(super) fn scope_reports(&self) -> Vec<ScopeReport> {
        let Some((read_back, body)) = self.read_back.and_then(|one| Some((one, one.body()?)))
        else {
            return Vec::new();
        };
        let scopes = body.firewall.iter();
        let reports = scopes.filter_map(|scope| self.scope_report(read_back, body, scope));
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

    /// What rules and default actions of policies that only observe would have refused, in packets, for the metric: those that
    /// would have refused nothing too.
    #[must_use]
    pub fn observed(&self) -> Vec<(&PolicyRef, RuleCount)> {
        let body = self.read_back.and_then(ReadBack::body);
        let scopes = body.into_iter().flat_map(|body| &body.firewall);
        let each = scopes.flat_map(|scope| {
            let rules = self.observed_rules(scope).into_iter();
            rules.map(|rule| (&scope.policy, rule))
        });
        each.collect()
    }

    /// What rules of administrators refused, in packets, by the namespace of the pods: those that refused nothing too.
    #[must_use]
    pub fn denied(&self) -> Vec<(&Namespace, DeniedCount)> {
        let body = self.read_back.and_then(ReadBack::body);
        let scopes = body.into_iter().flat_map(|body| &body.firewall);
        let each = scopes.flat_map(|scope| {
            let rules = self.denied_rules(scope).into_iter();
            rules.map(|rule| (&scope.policy.namespace, rule))
        });
        each.collect()
    }

    fn rule_counters(&self) -> Option<&BTreeMap<String, u64>> {
        let observed = self.read_back?.observed();
        Some(&observed.firewall.inet.as_ref()?.counters)
    }

    fn denied_rules(&self, scope: &Scope) -> Vec<DeniedCount> {
        let Some(counters) = self.rule_counters() else {
            return Vec::new();
        };
        let policies = scope.terms.admin.iter();
        let rules = policies.flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
        let found = rules.filter_map(|(policy, rule)| {
            Some(DeniedCount {
                policy: policy.name.clone(),
                rule: rule.name.clone(),
                packets: *counters.get(&names::denied(&scope.id, policy, rule))?,
            })
        });
        found.collect()
    }

    fn observed_rules(&self, scope: &Scope) -> Vec<RuleCount> {
        let Some(counters) = self.rule_counters() else {
            return Vec::new();
        };
        let rules = scope.terms.rules.iter().map(Some).chain([None]);
        let found = rules.filter_map(|rule| {
            let counter = names::observed(&scope.id, rule);
            Some(RuleCount {
                rule: rule.map(|rule| rule.name.clone()),
                packets: *counters.get(&counter)?,
            })
        });
        found.collect()
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
        let mut rules = self.observed_rules(scope);
        rules.retain(|rule| rule.packets > 0);
        let mut denied = self.denied_rules(scope);
        denied.retain(|rule| rule.packets > 0);
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
            observed: rules,
            denied,
        })
    }
}
