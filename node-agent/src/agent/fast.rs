//! One pod's change, without reading everything: the difference between what the agent left behind and what it wants
//! now, in one batch. When the kernel refuses it, somebody else was there, and a full run follows.

use std::sync::Arc;

use postern_host::{Host, HostError};
use postern_plan::check::Seal;
use postern_plan::diff::firewall::change;
use postern_plan::diff::table_state::FirewallState;
use postern_plan::order::{Stage, StepPlan};
use postern_plan::ruleset::Transaction;
use postern_plan::{Desired, Step};

use super::activation::Activation;
use super::state::Agent;

impl<H: Host> Agent<H> {
    /// Brings changed bindings into the kernel.
    ///
    /// # Errors
    /// The step that failed, after a full run has been tried.
    pub async fn apply_bindings(&mut self) -> Result<(), HostError> {
        if self.is_released() {
            return Ok(());
        }
        // What the agent left behind is known only where the firewall took everything.
        let known = |stage: Stage| matches!(stage, Stage::Guard | Stage::Flow | Stage::Release);
        let unknown = self
            .kernel
            .last
            .failures
            .iter()
            .any(|(stage, _, _)| known(*stage));
        if self.kernel.last.seal() != Some(Seal::Sealed) || unknown {
            self.reconcile(Activation::BindingChanged).await;
            return self.first_blocking_failure();
        }
        let desired = Arc::new(Desired::from_inputs(&self.inputs()));
        // The first binding of a node can prove its pod range, and with it come the second lock and its routes.
        if !desired.differs_only_in_pods(&self.kernel.desired) {
            self.reconcile(Activation::BindingChanged).await;
            return self.first_blocking_failure();
        }
        let changed = change(
            &FirewallState::from(&self.kernel.desired.ruleset),
            &desired.ruleset,
        );
        self.owe_cuts(&desired, None);
        let batch = |transaction: Transaction| match transaction.is_empty() {
            true => Vec::new(),
            false => vec![Step::Firewall(transaction)],
        };
        let plan = StepPlan::of([
            (Stage::Guard, batch(changed.guard)),
            (Stage::Release, batch(changed.release)),
        ]);
        let activation = Activation::BindingChanged;
        let failed_before = self.kernel.last.failures.len();
        self.execute(plan, &desired, activation).await;
        if self.kernel.last.failures.len() == failed_before {
            self.kernel.desired = desired;
            return Ok(());
        }
        self.reconcile(activation).await;
        self.first_blocking_failure()
    }

    fn first_blocking_failure(&self) -> Result<(), HostError> {
        match self
            .kernel
            .last
            .failures
            .iter()
            .find(|(stage, _, _)| stage.blocks())
        {
            Some((_, _, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
