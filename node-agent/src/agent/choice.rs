//! Which gateways this node uses, and the way from one to another: the tunnel first and by itself, so that a reading of the
//! whole host delays no switch; the run that follows reads back.

use std::sync::Arc;
use std::time::Instant;

use postern_agent_core::exit_choice::{ExitChoice, ExitChoices, steer};
use postern_host::Host;
use postern_intent::body::ExitRoute;
use postern_intent::{Body, ExitName, Verified};
use postern_plan::desired::tunnel_configs;
use postern_plan::order::Stage;
use postern_plan::{Observed, Step};

use super::activation::Activation;
use super::state::Agent;
use crate::audit::Entry;

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

    /// Chooses the gateway of each exit by what probes found; a first choice is the one that the kernel carries.
    pub(super) fn choose_gateways(&mut self, observed: &Observed) -> GatewayChange {
        let Some(verified) = self.documents.verified.clone() else {
            return GatewayChange::AsBefore;
        };
        let body = verified.get();
        let now = Instant::now();
        let probes = &self.kernel.last.probes;
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
    pub(super) async fn switch_tunnels(&mut self) {
        let configs = tunnel_configs(&self.inputs());
        let former = &self.kernel.desired.tunnels;
        let changed = configs.values().filter(|config| {
            former
                .get(&config.interface)
                .is_some_and(|one| one != *config)
        });
        let steps: Vec<Step> = changed.cloned().map(Step::ConfigureTunnel).collect();
        for step in &steps {
            let group = std::slice::from_ref(step);
            self.attempt(Stage::Tunnel, group, Activation::ProbeChanged)
                .await;
        }
        if !steps.is_empty() {
            Arc::make_mut(&mut self.kernel.desired).tunnels = configs;
        }
    }
}
