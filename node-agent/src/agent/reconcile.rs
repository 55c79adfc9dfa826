//! From what is known to what the kernel shows. A run cannot fail: whatever goes wrong is part of what it found.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use postern_agent_core::scope_reading::LeaseReading;
use postern_agent_core::{Carried, GuardReading, PartialReading, ReadBack};
use postern_host::{Host, Nature};
use postern_intent::{Body, Verified};
use postern_plan::desired::ProbePlan;
use postern_plan::diff::firewall::change;
use postern_plan::diff::table_state::FirewallState;
use postern_plan::host::Family;
use postern_plan::order::{PlanContext, Stage, StepPlan, TableChange, plan_readable};
use postern_plan::{Desired, Observed, Step};

use super::activation::Activation;
use super::state::{Agent, FirstReading, LeaseChange};
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
    /// One run: read, plan, carry out, read again, conclude.
    pub async fn reconcile(&mut self, activation: Activation) -> Again {
        self.follow_uplinks();
        self.follow_egress();
        if self.is_released() {
            return self.hold_released(activation).await;
        }
        let tables = self.table_change();
        self.kernel.last.failures.clear();
        self.kernel.last.lease_change = LeaseChange::None;
        let mut reading = self.read_host().await;
        // Before the forwarder gets a policy: an answer with a shorter time must not end a grant of an earlier agent.
        if !reading.gaps.contains(&Stage::Guard) {
            let table = reading.observed.firewall.inet.as_ref();
            self.dns.grants.hold().await.see(table);
        }
        self.look_around(&reading).await;
        // Before the facts: which scopes may use the uplink depends on the gateway in use.
        let probes = self.kernel.last.probes.clone();
        self.choose_gateways(&reading.observed, &probes);
        self.follow_sessions(&mut reading.observed).await;
        self.refresh_facts(&reading);
        let desired = Arc::new(Desired::from_inputs(&self.inputs()));
        let mut plan = self.plan(&desired, &reading);
        let drift = self.drift(activation, &desired, &plan, &reading);
        self.note_drift(activation, &drift, &reading.observed);
        // After a restart the kernel may already hold the wanted elements of an address, and its flows are then not cut.
        // That is known only where the firewall was read.
        let adopted = activation == Activation::Startup && !reading.gaps.contains(&Stage::Guard);
        self.owe_cuts(&desired, adopted.then_some(&reading.observed));
        let looks_only = self.looks_only(activation) && *desired == *self.kernel.desired;
        let was_whole = plan.is_empty() && reading.unread.is_empty();
        self.kernel.last.first_reading = match was_whole {
            true => FirstReading::AsWanted,
            false => FirstReading::Other,
        };
        if !looks_only {
            // What somebody else changed is told by what differs, and only what is carried out may be a replacement.
            if tables == TableChange::Replaced && !plan.is_empty() {
                let planning = PlanContext {
                    tables,
                    ..self.planning()
                };
                plan = plan_readable(&desired, &reading.observed, &reading.gaps, &planning);
            }
            self.kernel.last.table_change = tables;
            let plan = match self.leaves_drift(activation) {
                true => self.leave_drift(plan, &drift, &desired),
                false => plan,
            };
            self.execute(plan, &desired, activation).await;
        }
        self.kernel.desired = desired;
        let reading = self.read_host().await;
        let again = self.finish(reading).await;
        // Differences at the end of a run are this agent's unfinished work, and no drift. But where the first reading
        // showed none and nothing was done, another program changed the host between the two readings.
        self.kernel.last.known = match &self.kernel.last.read_back {
            Some(read_back) if !was_whole => read_back.differences().clone(),
            _ => StepPlan::default(),
        };
        // A run that only looks asks for no other one, because a retry would carry out what this one left alone; and it
        // ends no retry that an earlier run waits for, such as a tunnel process that is not there yet.
        if looks_only { Again::AsBefore } else { again }
    }

    fn plan(&self, desired: &Desired, reading: &PartialReading) -> StepPlan {
        plan_readable(desired, &reading.observed, &reading.gaps, &self.planning())
    }

    /// After an edit that the kernel refused the tables are replaced, once: a replacement that is refused too is followed by
    /// an edit again.
    fn table_change(&self) -> TableChange {
        let mut failures = self.kernel.last.failures.iter();
        let refused = failures
            .any(|(stage, _, error)| *stage == Stage::Guard && error.nature() == Nature::Refused);
        match self.kernel.last.table_change {
            TableChange::Edited if refused => TableChange::Replaced,
            _ => TableChange::Edited,
        }
    }

    const fn planning(&self) -> PlanContext<'_> {
        PlanContext {
            tables: TableChange::Edited,
            arp: self.kernel.last.arp,
            learned: &self.kernel.learned,
            own_key: &self.memory.key.public,
        }
    }

    /// With repair off, what somebody else did is seen and left. A run that wants something new, because a device came
    /// or an exit was lost for too long, still carries that out.
    fn looks_only(&self, activation: Activation) -> bool {
        self.options.repair == Repair::Off
            && matches!(
                activation,
                Activation::Timer | Activation::HostChanged | Activation::ProbeChanged
            )
    }

    /// With repair off, a new document or binding changes what it is about and nothing that somebody else took away.
    fn leaves_drift(&self, activation: Activation) -> bool {
        self.options.repair == Repair::Off
            && matches!(
                activation,
                Activation::Timer
                    | Activation::HostChanged
                    | Activation::ProbeChanged
                    | Activation::IntentChanged
                    | Activation::BindingChanged
            )
    }

    /// What differs from what this agent left behind. As a rule that is what differs from what is wanted, and is planned
    /// once; only a run that also wants something else compares twice.
    fn drift(
        &self,
        activation: Activation,
        desired: &Desired,
        plan: &StepPlan,
        reading: &PartialReading,
    ) -> StepPlan {
        let is_looked_for = activation.looks_for_drift() || self.leaves_drift(activation);
        if !is_looked_for || !reading.gaps.is_empty() {
            StepPlan::default()
        } else if *desired == *self.kernel.desired {
            plan.clone()
        } else {
            self.plan(&self.kernel.desired, reading)
        }
    }

    fn leave_drift(&self, plan: StepPlan, drift: &StepPlan, desired: &Desired) -> StepPlan {
        let drift: Vec<&Step> = drift.steps().collect();
        let own = change(
            &FirewallState::from(&self.kernel.desired.ruleset),
            &desired.ruleset,
        );
        let stages = plan.stages.into_iter().map(|(stage, steps)| {
            let steps = match stage {
                Stage::Guard if own.guard.is_empty() => Vec::new(),
                Stage::Guard => vec![Step::Firewall(own.guard.clone())],
                Stage::Arp if self.kernel.desired.ruleset.arp == desired.ruleset.arp => Vec::new(),
                Stage::Release if own.release.is_empty() => Vec::new(),
                Stage::Release => vec![Step::Firewall(own.release.clone())],
                _ => steps
                    .into_iter()
                    .filter(|step| !drift.contains(&step))
                    .collect(),
            };
            (stage, steps)
        });
        StepPlan {
            stages: stages.collect(),
        }
    }

    /// Facts that the plan depends on. What was not read stays as it was known before.
    fn refresh_facts(&mut self, reading: &PartialReading) {
        let family = |digit: &char| {
            if *digit == '4' {
                Family::V4
            } else {
                Family::V6
            }
        };
        if !self.is_unread(postern_host::Part::Uplinks) {
            self.kernel.facts.uplinks = reading
                .observed
                .default_uplinks
                .iter()
                .map(|(digit, name)| (family(digit), name.clone()))
                .collect();
        }
        if !self.is_unread(postern_host::Part::Links) {
            let links = reading.observed.links.iter();
            let foreign = links.filter(|link| !postern_host::is_own_link(&link.name));
            let addresses = foreign.flat_map(|link| &link.addresses);
            self.kernel.facts.addresses = Some(addresses.map(ipnet::IpNet::addr).collect());
        }
        self.kernel.facts.failed_open = self.may_be_open(&reading.observed, &reading.gaps);
        self.kernel.facts.uncut = self.uncut();
    }

    /// What differs from what this agent left behind was changed by somebody else.
    fn note_drift(&mut self, activation: Activation, drift: &StepPlan, observed: &Observed) {
        // The run before planned nothing from parts that it could not read: their differences are its unfinished work.
        let read_back = self.kernel.last.read_back.as_ref();
        let was_whole = read_back.is_some_and(|read_back| read_back.unread().is_empty());
        if !activation.looks_for_drift() || !was_whole {
            return;
        }
        let known: Vec<_> = self.kernel.last.known.differences().collect();
        let foreign: Vec<String> = drift
            .differences()
            .filter(|difference| !known.contains(difference))
            .filter(|(stage, step)| *stage != Stage::Tunnel || self.was_configured(step, observed))
            .map(|(stage, step)| format!("{}: {step}", stage.word()))
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
        self.output
            .audit
            .write(&line.about(self.documents.verified.as_deref()));
    }

    /// A tunnel that has our key and is not as we left it was changed by somebody's hand; one that does not answer, or
    /// answers without a key, is a process that died.
    fn was_configured(&self, step: &Step, observed: &Observed) -> bool {
        let Step::ConfigureTunnel(config) = step else {
            return true;
        };
        let tunnel = observed.tunnels.get(&config.interface);
        let key = config.own_key.as_ref().unwrap_or(&self.memory.key.public);
        tunnel.is_some_and(|tunnel| tunnel.public_key.as_ref() == Some(key))
    }

    /// What the kernel shows now, what that means for each scope, the lease, and the report.
    async fn finish(&mut self, mut reading: PartialReading) -> Again {
        let now = self.clock.now();
        reading.unread.extend(self.unseen());
        let wanted = Carried {
            body: self.documents.verified.clone(),
            steered: self.documents.steered.clone(),
            desired: self.kernel.desired.clone(),
        };
        let former = self.kernel.carried.as_ref();
        let read_back = ReadBack::new(&wanted, former, reading, &self.planning());
        if read_back.guard() == GuardReading::Wanted {
            self.kernel.carried = Some(wanted);
        }
        if read_back.agrees() {
            self.kernel.last.verified_at = Some(now);
        }
        self.kernel.last.read_back = Some(Arc::new(read_back));
        self.keep_lease().await;
        self.exits.probes.update(&self.probe_plan());
        self.dns
            .lease(self.kernel.last.lease.as_ref().map(|(_, until)| *until));
        self.update_scopes(now);
        self.record_applied();
        self.answer_waiting().await;
        self.write_report();
        self.again()
    }

    /// What is probed now: without the lease the guard lets no probe out, and the gateway would be blamed for it.
    fn probe_plan(&self) -> ProbePlan {
        let plan = &self.kernel.desired.probes;
        match self.lease_reading() {
            LeaseReading::Stands => plan.clone(),
            LeaseReading::Missing | LeaseReading::Expired | LeaseReading::Overdue => ProbePlan {
                used: std::collections::BTreeMap::new(),
                served: plan.served.clone(),
            },
        }
    }

    /// The ledger remembers the body that the kernel was read back to carry, and the time.
    fn record_applied(&mut self) {
        let Some(read_back) = self.kernel.last.read_back.clone() else {
            return;
        };
        let Some(applied) = read_back.applied() else {
            return;
        };
        let digest = Some(applied.digest().to_owned());
        let now = self.clock.now();
        let seen = self.clock.remembered();
        let stale = self
            .memory
            .ledger
            .entries()
            .highest_time
            .is_none_or(|written| seen.duration_since(written).as_secs() >= 60);
        let cluster_serial = applied.get().cluster_serial;
        let before = self.memory.ledger.entries();
        let is_new =
            before.applied_digest != digest || before.applied_cluster_serial != cluster_serial;
        if is_new || self.kernel.dns_modes.is_empty() {
            self.note_modes(applied, now);
        }
        if !stale && !is_new {
            return;
        }
        let recorded = self.memory.ledger.record(|entries| {
            entries.applied_digest = digest;
            entries.applied_cluster_serial = cluster_serial;
            entries.highest_time = Some(seen);
        });
        match recorded {
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the ledger cannot be kept"
            ),
            // By the ledger, so that a restart on the same body is no news.
            Ok(()) if is_new => {
                let line = Entry::of(now, "intent", "Applied", "");
                self.output.audit.write(&line.about(Some(applied)));
            }
            Ok(()) => {}
        }
    }

    /// A line of the audit log for each scope whose mode of names is another one than in the body before.
    fn note_modes(&mut self, applied: &Verified<Body>, now: Timestamp) {
        let scopes = applied.get().firewall.iter();
        let modes = scopes.map(|scope| (scope.id.clone(), scope.terms.dns.mode));
        let former = std::mem::replace(&mut self.kernel.dns_modes, modes.collect());
        for (scope, to) in &self.kernel.dns_modes {
            let from = former.get(scope).filter(|from| *from != to);
            if let Some(from) = from {
                self.output.audit.write(&Entry {
                    scope: Some(scope.as_str()),
                    from: Some(from.to_string()),
                    to: Some(to.to_string()),
                    ..Entry::of(now, "names", "ModeChanged", "").about(Some(applied))
                });
            }
        }
    }

    fn again(&self) -> Again {
        let failures = self.kernel.last.failures.iter().map(|(_, _, error)| error);
        let looks = self.kernel.last.failed_looks.iter().map(|(_, error)| error);
        let unread = self.kernel.last.unread.iter().map(|unread| &unread.source);
        let mut errors = failures.chain(looks).chain(unread);
        let passing = errors.any(|error| error.nature() == Nature::Transient);
        let read_back = self.kernel.last.read_back.as_ref();
        let unserved = read_back.is_some_and(|read_back| {
            let mut differences = read_back.differences().differences();
            differences.any(|(stage, _)| stage == Stage::Tunnel)
        });
        // A scope has just failed open, or may not be open any more: the kernel hears of it in the next run.
        let moved = read_back.is_some_and(|read_back| {
            let gaps: BTreeSet<Stage> = [Stage::Link]
                .into_iter()
                .filter(|stage| !read_back.is_read(*stage))
                .collect();
            self.may_be_open(read_back.observed(), &gaps) != self.kernel.facts.failed_open
        });
        if passing || unserved || moved {
            Again::Soon
        } else {
            Again::Later
        }
    }
}
