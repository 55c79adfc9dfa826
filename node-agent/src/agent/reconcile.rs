//! From what is known to what the kernel shows. A run cannot fail: whatever goes wrong is part of what it found.

use postern_host::{Host, Nature, Reading, observe};
use postern_plan::check::{Checked, Seal, check};
use postern_plan::diff::firewall::{FirewallState, change};
use postern_plan::host::Family;
use postern_plan::order::{Plan, Planning, Stage, plan};
use postern_plan::{Desired, Observed, Step};

use super::activation::Activation;
use super::state::Agent;
use crate::audit::Entry;
use crate::options::Repair;

/// Should the loop run again soon?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Something may work in a moment.
    Soon,
    /// At the next event or timer.
    Later,
    /// As the run before asked for: this one changed nothing.
    AsBefore,
}

impl<H: Host> Agent<H> {
    /// One run.
    pub async fn reconcile(&mut self, activation: Activation) -> Again {
        if self.is_released() {
            return self.hold_released(activation).await;
        }
        self.last.failures.clear();
        let reading = observe(&self.host).await;
        self.look_around(&reading).await;
        let observed = match self.settle(reading, activation).await {
            Some(observed) => observed,
            None => return self.finish(None).await,
        };
        self.refresh_facts(&observed);
        self.note_drift(activation, &observed);
        let desired = Desired::from_inputs(&self.inputs());
        let adopted = (activation == Activation::Startup).then_some(&observed);
        self.owe_cuts(&desired, adopted);
        let looks_only = self.looks_only(activation);
        let was_whole = self.is_whole(&desired, &observed);
        if !looks_only {
            self.carry_out(&desired, &observed, activation).await;
        }
        self.desired = desired;
        let reading = observe(&self.host).await;
        let observed = self.settle(reading, activation).await;
        let again = self.finish(observed).await;
        // What is wrong at the end of a run is ours to make, and nobody's hand; but where nothing was wrong at its
        // beginning and nothing was done, somebody's hand was between the two readings.
        self.last.known = if was_whole {
            Vec::new()
        } else {
            self.last.checked.mismatches.clone()
        };
        // A run that only looks asks for no other one, because a retry would carry out what this one left alone; and it
        // ends no retry that an earlier run waits for, such as a tunnel process that is not there yet.
        if looks_only { Again::AsBefore } else { again }
    }

    /// Is there nothing to do?
    fn is_whole(&self, desired: &Desired, observed: &Observed) -> bool {
        let planning = Planning {
            before: &self.desired,
            learned: &self.learned,
            own_key: &self.key.public,
        };
        plan(desired, observed, &planning).is_empty()
    }

    /// With repair off, what somebody else did is seen and left.
    fn looks_only(&self, activation: Activation) -> bool {
        self.repair == Repair::Off
            && matches!(activation, Activation::Timer | Activation::HostChanged)
    }

    /// With repair off, a new document or binding changes what it is about and nothing that somebody else took away.
    fn leave_drift(&self, plan: Plan, desired: &Desired, observed: &Observed) -> Plan {
        let planning = Planning {
            before: &self.desired,
            learned: &self.learned,
            own_key: &self.key.public,
        };
        let drift = check(&self.desired, observed, &planning).plan;
        let drift: Vec<&Step> = drift.steps().collect();
        let own = change(
            &FirewallState::from(&self.desired.ruleset),
            &desired.ruleset,
        );
        let stages = plan.stages.into_iter().map(|(stage, steps)| {
            let steps = match stage {
                Stage::Guard if own.guard.is_empty() => Vec::new(),
                Stage::Guard => vec![Step::Firewall(own.guard.clone())],
                Stage::Release if own.release.is_empty() => Vec::new(),
                Stage::Release => vec![Step::Firewall(own.release.clone())],
                _ => steps
                    .into_iter()
                    .filter(|step| !drift.contains(&step))
                    .collect(),
            };
            (stage, steps)
        });
        Plan {
            stages: stages.collect(),
        }
    }

    /// The whole picture; or what can be blocked without it, where parts cannot be read.
    async fn settle(&mut self, mut reading: Reading, activation: Activation) -> Option<Observed> {
        self.go_without_lock(&mut reading);
        let unread = reading.unread();
        if unread.is_empty() {
            let observed = reading.whole().ok()?;
            self.listen(&observed);
            return Some(observed);
        }
        self.work_blind(&reading, &unread, activation).await;
        None
    }

    /// Facts that the plan depends on.
    fn refresh_facts(&mut self, observed: &Observed) {
        let family = |digit: &char| {
            if *digit == '4' {
                Family::V4
            } else {
                Family::V6
            }
        };
        self.facts.uplinks = observed
            .default_uplinks
            .iter()
            .map(|(digit, name)| (family(digit), name.clone()))
            .collect();
        self.facts.failed_open = self.may_be_open(observed);
    }

    /// What differs from what this agent left behind was changed by somebody else.
    fn note_drift(&mut self, activation: Activation, observed: &Observed) {
        if !matches!(activation, Activation::Timer | Activation::HostChanged)
            || self.last.seal.is_none()
        {
            return;
        }
        let planning = Planning {
            before: &self.desired,
            learned: &self.learned,
            own_key: &self.key.public,
        };
        let found = check(&self.desired, observed, &planning);
        let known = &self.last.known;
        let foreign: Vec<String> = found
            .mismatches
            .iter()
            .filter(|mismatch| !known.contains(mismatch))
            .filter(|mismatch| {
                mismatch.stage != Stage::Tunnel || self.was_configured(&mismatch.step, observed)
            })
            .map(ToString::to_string)
            .collect();
        if foreign.is_empty() {
            return;
        }
        let now = self.clock.now();
        for message in &foreign {
            tracing::warn!("changed by somebody else: {message}");
            self.count("repairs");
        }
        let foreign = foreign.join("; ");
        let line = Entry::of(now, "repair", "Drift", &foreign);
        self.audit.write(&line.about(self.verified.as_ref()));
    }

    /// A tunnel that has our key and is not as we left it was changed by somebody's hand; one that does not answer, or
    /// answers without a key, is a process that died.
    fn was_configured(&self, step: &Step, observed: &Observed) -> bool {
        let Step::ConfigureTunnel(config) = step else {
            return true;
        };
        let tunnel = observed.tunnels.get(&config.interface);
        tunnel.is_some_and(|tunnel| tunnel.public_key.as_ref() == Some(&self.key.public))
    }

    /// The way from what is there to what should be there.
    async fn carry_out(&mut self, desired: &Desired, observed: &Observed, activation: Activation) {
        let planning = Planning {
            before: &self.desired,
            learned: &self.learned,
            own_key: &self.key.public,
        };
        let mut plan = plan(desired, observed, &planning);
        if self.repair == Repair::Off
            && matches!(
                activation,
                Activation::IntentChanged | Activation::BindingChanged
            )
        {
            plan = self.leave_drift(plan, desired, observed);
        }
        let plan = plan.cutting(&self.owed_cuts);
        self.execute(plan, &desired.dns, activation).await;
    }

    /// What the kernel shows now, what that means for each scope, the lease, and the report.
    async fn finish(&mut self, observed: Option<Observed>) -> Again {
        let now = self.clock.now();
        match observed {
            None => {
                self.last.seal = Some(Seal::NotSealed);
                self.last.checked = Checked::default();
                self.last.observed = None;
            }
            Some(observed) => {
                let planning = Planning {
                    before: &self.desired,
                    learned: &self.learned,
                    own_key: &self.key.public,
                };
                let checked = check(&self.desired, &observed, &planning);
                self.last.seal = Some(checked.seal());
                self.last.lock = Some(checked.lock());
                if checked.mismatches.is_empty() {
                    self.last.verified_at = Some(now);
                }
                self.last.checked = checked;
                self.last.observed = Some(observed);
            }
        }
        self.keep_lease().await;
        self.dns
            .lease(self.last.lease.as_ref().map(|(_, until)| *until));
        self.advance_scopes(now);
        self.record_applied();
        self.answer_waiting().await;
        self.write_report();
        self.again()
    }

    fn record_applied(&mut self) {
        let digest = match (&self.verified, self.last.seal) {
            (Some(verified), Some(Seal::Sealed)) => Some(verified.digest().to_owned()),
            _ => return,
        };
        let now = self.clock.now();
        let stale = self
            .ledger
            .entries()
            .highest_time
            .is_none_or(|seen| now.duration_since(seen).as_secs() >= 60);
        let is_new = self.ledger.entries().applied_digest != digest;
        if !stale && !is_new {
            return;
        }
        let recorded = self.ledger.record(|entries| {
            entries.applied_digest = digest;
            entries.highest_time = Some(now);
        });
        match recorded {
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the ledger cannot be kept"
            ),
            // By the ledger, so that a restart on the same body is no news.
            Ok(()) if is_new => {
                let line = Entry::of(now, "intent", "Applied", "");
                self.audit.write(&line.about(self.verified.as_ref()));
            }
            Ok(()) => {}
        }
    }

    fn again(&self) -> Again {
        let passing = self
            .last
            .failures
            .iter()
            .any(|(_, _, error)| error.nature() == Nature::Transient);
        let unserved = self
            .last
            .checked
            .mismatches
            .iter()
            .any(|mismatch| mismatch.stage == Stage::Tunnel);
        // A scope has just failed open, or may not be open any more: the kernel hears of it in the next run.
        let moved = self
            .last
            .observed
            .as_ref()
            .is_some_and(|observed| self.may_be_open(observed) != self.facts.failed_open);
        if passing || unserved || moved {
            Again::Soon
        } else {
            Again::Later
        }
    }
}
