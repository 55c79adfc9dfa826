//! What each scope does, as its machine says it.

use std::collections::BTreeSet;

use postern_crds::node_report::{Posture, ScopePods, ScopePolicy, ScopeReport, ScopeState};
use postern_host::Host;
use postern_intent::body::{Scope, Way};
use postern_plan::check::Seal;
use postern_plan::desired::Standing;
use postern_plan::machine::{self, Cause, State, StateKind};

use crate::agent::Agent;

impl<H: Host> Agent<H> {
    pub(super) fn scope_reports(&self) -> Vec<ScopeReport> {
        let scopes = self
            .body()
            .map(|body| &body.firewall[..])
            .unwrap_or_default();
        scopes
            .iter()
            .filter_map(|scope| self.scope_report(scope))
            .take(128)
            .collect()
    }

    fn scope_report(&self, scope: &Scope) -> Option<ScopeReport> {
        let track = self.scopes.get(&scope.id)?;
        let kind = track.state.kind();
        let pods = self
            .desired
            .classes
            .values()
            .filter(|classified| classified.standing == Standing::Scope(scope.id.clone()))
            .map(|classified| &classified.uid)
            .collect::<BTreeSet<_>>();
        let number = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        let by_passing = self.bypassed_pods();
        let passing = pods.iter().filter(|uid| by_passing.contains_key(**uid));
        let passing = number(passing.count());
        let count = number(pods.len()) - passing;
        // What is open, and what could not be blocked, is never counted as blocked.
        let pods = match track.state {
            State::Enforcing | State::Degraded => (count, 0, 0),
            State::FailedOpen { .. } => (0, 0, 0),
            State::Blocked {
                seal: Seal::NotSealed,
                ..
            } => (0, 0, count),
            _ => (0, count, 0),
        };
        let (enforced, blocked, unenforceable) = pods;
        let exit = match &scope.way {
            Way::Tunnel { exit } | Way::LocalExit { exit } => Some(exit.to_string()),
            Way::NodeUplink | Way::Blocked { .. } => None,
        };
        Some(ScopeReport {
            id: scope.id.to_string(),
            posture: posture(kind),
            state: scope_state(kind),
            reason: reason(&track.state),
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

fn posture(kind: StateKind) -> Posture {
    match machine::Posture::of(kind) {
        machine::Posture::Open => Posture::Open,
        machine::Posture::Sealed => Posture::Sealed,
        machine::Posture::TunnelOnly => Posture::TunnelOnly,
    }
}

const fn scope_state(kind: StateKind) -> ScopeState {
    match kind {
        StateKind::Unclaimed => ScopeState::Unclaimed,
        StateKind::Sealing => ScopeState::Sealing,
        StateKind::Converging => ScopeState::Converging,
        StateKind::Verifying => ScopeState::Verifying,
        StateKind::Opening => ScopeState::Opening,
        StateKind::Enforcing => ScopeState::Enforcing,
        StateKind::Degraded => ScopeState::Degraded,
        StateKind::Blocked => ScopeState::Blocked,
        StateKind::FailedOpen => ScopeState::FailedOpen,
        StateKind::Releasing => ScopeState::Releasing,
    }
}

/// Why a scope is blocked, and `NotSealed` where the block does not hold.
fn reason(state: &State) -> Option<String> {
    let State::Blocked { cause, seal } = state else {
        return None;
    };
    if *seal == Seal::NotSealed {
        return Some("NotSealed".to_owned());
    }
    Some(match cause {
        Cause::Body(reason) => format!("{reason:?}"),
        other => format!("{other:?}"),
    })
}
