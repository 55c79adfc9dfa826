//! What each scope of the body does whose guard the kernel was read for.

use std::collections::BTreeSet;

use postern_crds::node_report::{SCOPES_LISTED, ScopePods, ScopePolicy, ScopeReport};
use postern_intent::Body;
use postern_intent::body::{EgressPath, Scope};
use postern_plan::check::Seal;
use postern_plan::desired::AddressClass;

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
        scopes
            .filter_map(|scope| self.scope_report(read_back, body, scope))
            .take(SCOPES_LISTED)
            .collect()
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
        let pods = match status {
            ScopeStatus::Enforcing | ScopeStatus::Degraded => (count, 0, 0),
            ScopeStatus::FailedOpen { .. } => (0, 0, 0),
            ScopeStatus::Blocked {
                seal: Seal::NotSealed,
                ..
            } => (0, 0, count),
            _ => (0, count, 0),
        };
        let (enforced, blocked, unenforceable) = pods;
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
                blocked,
                unenforceable: unenforceable + passing,
            }),
        })
    }
}
