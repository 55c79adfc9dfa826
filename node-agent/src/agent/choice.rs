//! Which gateways this node uses, and the way from one to another: the tunnel first and by itself, so that a reading of the
//! whole host delays no switch; the run that follows reads back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_agent_core::ProbeResults;
use postern_agent_core::exit_choice::{ExitChoice, ExitChoices, steer};
use postern_host::Host;
use postern_intent::body::ExitRoute;
use postern_intent::{Body, ExitName, Verified};
use postern_plan::desired::tunnel_configs;
use postern_plan::host::TunnelConfig;
use postern_plan::order::Stage;
use postern_plan::{Observed, Step};
use tokio::time::{Instant as TokioInstant, timeout_at};

use super::activation::Activation;
use super::execute::StepsAttempt;
use super::state::Agent;
use crate::audit::Entry;
use crate::probe::PublishedProbes;

/// How long a switch may keep the loop: a tunnel process that hangs delays no pod.
const PATIENCE: Duration = Duration::from_millis(500);

/// Are other gateways in use than before?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GatewayChange {
    Switched,
    AsBefore,
}

impl<H: Host> Agent<H> {
    /// A body comes into force, with the gateways that were chosen before.
    pub(super) fn put_in_force(&mut self, verified: Verified<Body>) {
        self.documents.verified = Some(Arc::new(verified));
        self.steer();
    }

    fn steer(&mut self) {
        let verified = self.documents.verified.as_deref();
        let steered = verified.map(|verified| steer(verified.get(), &self.exits.choices));
        self.documents.steered = steered.map(Arc::new);
    }

    /// Goes on to another gateway where the newest results of the probes ask for it, whatever else waits in the loop; says
    /// whether a run is due.
    pub(super) async fn follow_probes(&mut self, latest: &PublishedProbes) -> Option<Activation> {
        let results = &latest.results;
        let read_back = self.kernel.last.read_back.clone()?;
        if self.is_released() || *results == self.kernel.last.probes {
            return None;
        }
        if self.choose_gateways(read_back.observed(), results) == GatewayChange::AsBefore {
            return None;
        }
        self.kernel.last.probes.clone_from(results);
        self.switch_tunnels().await;
        Some(Activation::ProbeChanged)
    }

    /// Chooses the gateway of each exit by what probes found; a first choice is the one that the kernel carries.
    pub(super) fn choose_gateways(
        &mut self,
        observed: &Observed,
        probes: &ProbeResults,
    ) -> GatewayChange {
        let Some(verified) = self.documents.verified.clone() else {
            return GatewayChange::AsBefore;
        };
        let body = verified.get();
        let now = Instant::now();
        let choice = |route: &ExitRoute| {
            let former = match self.exits.choices.get(&route.exit) {
                Some(former) => former.clone(),
                None => ExitChoice::begin(route, body, observed)?,
            };
            let reach = |gateway: &_| probes.reach(&route.exit, gateway);
            Some((
                route.exit.clone(),
                former.next(route, &body.node.name, reach, now),
            ))
        };
        let choices: ExitChoices = body.routes.iter().filter_map(choice).collect();
        let former = std::mem::replace(&mut self.exits.choices, choices);
        let in_use = |choices: &ExitChoices, exit: &ExitName| {
            let choice = choices.get(exit);
            choice.map(|choice: &ExitChoice| choice.gateway.clone())
        };
        let mut change = GatewayChange::AsBefore;
        for route in &body.routes {
            let before = in_use(&former, &route.exit);
            let after = in_use(&self.exits.choices, &route.exit);
            if before == after {
                continue;
            }
            change = GatewayChange::Switched;
            if let (Some(before), Some(after)) = (before, after) {
                let message = format!("{}: from {before} to {after}", route.exit);
                tracing::warn!(exit = %route.exit, from = %before, to = %after, "the node uses another gateway");
                let line = Entry::of(self.clock.now(), "exit", "GatewaySwitched", &message);
                self.output.audit.write(&line.about(Some(&verified)));
                self.count("gateway_switches");
            }
        }
        if change == GatewayChange::Switched {
            self.steer();
        }
        change
    }

    /// Gives the ranges of each tunnel to the gateway that is in use now. What fails is left to the run that follows.
    async fn switch_tunnels(&mut self) {
        let configs = tunnel_configs(&self.inputs());
        let former = &self.kernel.desired.tunnels;
        let changed = configs.values().filter(|config| {
            former
                .get(&config.interface)
                .is_some_and(|one| one != *config)
        });
        let changed: Vec<TunnelConfig> = changed.cloned().collect();
        let deadline = TokioInstant::now() + PATIENCE;
        for config in changed {
            let group = [Step::ConfigureTunnel(config.clone())];
            let attempt = self.attempt(Stage::Tunnel, &group, Activation::ProbeChanged);
            // What was not done is this agent's unfinished work, and no change of another program.
            match timeout_at(deadline, attempt).await {
                Ok(StepsAttempt::Done) => {
                    let desired = Arc::make_mut(&mut self.kernel.desired);
                    desired.tunnels.insert(config.interface.clone(), config);
                }
                Ok(StepsAttempt::Failed) | Err(_) => {
                    let left = (Stage::Tunnel, group.to_vec());
                    self.kernel.last.known.stages.push(left);
                }
            }
        }
    }
}
