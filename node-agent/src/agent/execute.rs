//! A plan is carried out: stage by stage, what blocks first, and what opens only if what blocks stands. Every
//! step of the agent goes this way, whoever planned it.

use std::collections::{BTreeMap, BTreeSet};

use postern_agent_core::records::RecordTable;
use postern_host::{Applied, Host, HostError, Nature, apply};
use postern_intent::Address;
use postern_plan::desired::{AddressClass, names};
use postern_plan::diff::firewall::releases_but;
use postern_plan::diff::flow;
use postern_plan::flow::{CutExtent, Cuts};
use postern_plan::host::Family;
use postern_plan::order::{ArpTables, Stage, StepPlan};
use postern_plan::ruleset::{Atom, Element, TableFamily, Transaction};
use postern_plan::{Desired, FlowCut, Observed, Step};

use super::activation::Activation;
use super::state::Agent;

/// What came of steps that fail together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepsAttempt {
    /// All of them were done.
    Done,
    /// One failed, or failed before and waits: it is among the failures of the run.
    Failed,
}

impl<H: Host> Agent<H> {
    /// Carries a plan out, and the cuts that are owed. A failure keeps its own group from going on, and what releases from
    /// being released when it was in a stage that blocks.
    pub(super) async fn execute(
        &mut self,
        plan: StepPlan,
        desired: &Desired,
        activation: Activation,
    ) {
        let plan = plan.cutting(FlowCut {
            addresses: self.kernel.owed_cuts.clone(),
            inside: desired.inside.clone(),
            ..FlowCut::default()
        });
        // Before the kernel tells of a packet, what it means is known.
        if let Some(body) = self.inputs().body {
            self.output.records.update(RecordTable::of(desired, body));
        }
        let mut blocks_stand = true;
        for (stage, mut steps) in plan.stages {
            // Cut now, new entries would be made under the old rules: a cut is owed until the guard stands.
            if !blocks_stand && matches!(stage, Stage::Flow | Stage::Release) {
                continue;
            }
            if stage == Stage::Release && !self.kernel.owed_cuts.is_empty() {
                steps = vec![Step::Firewall(releases_but(
                    &desired.ruleset,
                    &self.uncut(),
                ))];
            }
            for group in groups(stage, steps) {
                let attempt = self.attempt(stage, &group, activation).await;
                blocks_stand &= attempt == StepsAttempt::Done || !stage.blocks();
            }
            // The forwarder refuses names as soon as the guard refuses their addresses, however long tunnels and routes take.
            if stage == Stage::Guard {
                self.dns.update(&desired.dns);
            }
        }
        self.dns.update(&desired.dns);
    }

    /// Addresses that are not released yet, because flows that they had under another class may go on.
    pub(super) fn uncut(&self) -> BTreeSet<Address> {
        self.kernel.owed_cuts.keys().copied().collect()
    }

    /// Tries steps in order until one fails.
    pub(super) async fn attempt(
        &mut self,
        stage: Stage,
        group: &[Step],
        activation: Activation,
    ) -> StepsAttempt {
        if let Some(held) = self.kernel.last.held_back.holds(group, activation) {
            let failure = (stage, held.step().to_string(), held.error.clone());
            self.kernel.last.failures.push(failure);
            return StepsAttempt::Failed;
        }
        let mut applied = self.apply_with_grants(group).await;
        self.kernel.last.held_back.done(&applied.done);
        let mut filled = BTreeSet::new();
        for step in &applied.done {
            match step {
                Step::Firewall(transaction) => filled.extend(transaction.fills()),
                Step::CutFlows(cut) => self.forget_cuts(cut, &BTreeSet::new()),
                _ => {}
            }
        }
        // At once: the longer the time between, the more can somebody else have put there meanwhile.
        if !filled.is_empty()
            && let Ok(listed) = self.host.read_firewall().await
        {
            self.kernel.learned.learn(&filled, &listed);
        }
        let Some(failed) = applied.failed.take() else {
            return StepsAttempt::Done;
        };
        if let (Step::CutFlows(cut), HostError::CutFlows { uncut, .. }) =
            (&failed.step, &failed.error)
        {
            self.forget_cuts(cut, uncut);
        }
        // Only the LAN's questions depend on that table: a kernel that cannot have one keeps no status back, and `Preflight`
        // names it.
        if stage == Stage::Arp && failed.error.nature() == Nature::Unsupported {
            let error = &failed.error as &dyn std::error::Error;
            tracing::warn!(error, "the kernel has no ARP tables");
            self.kernel.last.arp = ArpTables::Unsupported;
            return StepsAttempt::Done;
        }
        self.output.metrics.step_failed(failed.step.kind());
        self.kernel.last.held_back.failed(stage, &failed);
        let failure = (stage, failed.step.to_string(), failed.error);
        self.kernel.last.failures.push(failure);
        StepsAttempt::Failed
    }

    /// Carries steps out. Nobody writes a grant meanwhile, and a batch that makes the table anew carries over what stands in its
    /// sets: the kernel is the memory of grants, over a restart of the agent too.
    async fn apply_with_grants(&self, group: &[Step]) -> Applied {
        let is_batch = |step: &Step| matches!(step, Step::Firewall(_));
        if !group.iter().any(is_batch) {
            return apply(&self.host, group).await;
        }
        let mut memory = self.dns.grants.hold().await;
        let mut steps = group.to_vec();
        for step in &mut steps {
            let Step::Firewall(batch) = step else {
                continue;
            };
            if batch.replaces(TableFamily::Inet)
                && let Ok(listed) = self.host.read_firewall().await
                && let Some(table) = &listed.inet
            {
                let grants = Transaction::carry_grants(table, batch);
                *batch = batch.clone().then(grants);
            }
            memory.pass(batch);
        }
        let mut applied = apply(&self.host, &steps).await;
        // What failed is known by the step as it was planned.
        if let Some(failed) = &mut applied.failed
            && let Some(planned) = group.get(applied.done.len())
        {
            failed.step = planned.clone();
        }
        applied
    }

    fn forget_cuts(&mut self, cut: &FlowCut, uncut: &BTreeSet<Address>) {
        self.kernel
            .owed_cuts
            .retain(|address, _| uncut.contains(address) || !cut.addresses.contains_key(address));
    }

    /// Notes whose flows have to be cut on the way from what the host was last made to look like. They are owed until
    /// a cut succeeds. At a start the kernel may say of an address already what it should.
    pub(super) fn owe_cuts(&mut self, desired: &Desired, adopted: Option<&Observed>) {
        let mut cuts = flow::cuts(&self.kernel.desired, desired, self.body());
        if let Some(observed) = adopted {
            cuts.retain(|address, _| !self.is_adopted(address, desired, observed));
            cuts.extend(self.let_go_meanwhile(desired, observed));
        }
        for (address, extent) in cuts {
            let owed = self.kernel.owed_cuts.entry(address).or_insert(extent);
            *owed = extent.max(*owed);
        }
    }

    /// Addresses that the kernel guards from before a restart and that are released now: whoever had them has flows.
    fn let_go_meanwhile(&self, desired: &Desired, observed: &Observed) -> Cuts {
        let classes = desired.classes.iter();
        let released = classes.filter(|(_, classified)| classified.class == AddressClass::Released);
        let addresses = released.map(|(address, _)| *address);
        addresses
            .filter(|address| {
                let Some(table) = &observed.firewall.inet else {
                    return false;
                };
                let map = names::halved(names::GUARD_MAP, Family::of(address));
                table
                    .sets
                    .get(&map)
                    .and_then(|set| own(&set.elements, address))
                    .is_some()
                    && !self.is_adopted(address, desired, observed)
            })
            .map(|address| (address, CutExtent::BothWays))
            .collect()
    }

    /// A flow goes on over a restart of the agent where the kernel already says of its address what it should, and
    /// either the address has a durable binding, so that no other pod can have come to it meanwhile, because ADD needs
    /// a live agent; or the address was released and still is, so that there is nothing that a flow could keep.
    fn is_adopted(&self, address: &Address, desired: &Desired, observed: &Observed) -> bool {
        let Some(table) = &observed.firewall.inet else {
            return false;
        };
        let family = Family::of(address);
        let same = [names::GUARD_MAP, names::STEER_MAP, names::LAST_MAP]
            .iter()
            .all(|map| {
                let map = names::halved(map, family);
                let wanted = desired.ruleset.inet.sets.get(&map);
                let there = table.sets.get(&map);
                wanted.map(|set| own(&set.elements, address))
                    == there.map(|there| own(&there.elements, address))
            });
        let class = desired.classes.get(address);
        let is_released =
            class.is_some_and(|classified| classified.class == AddressClass::Released);
        same && (is_released || self.memory.bindings.get().owner(address).is_some())
    }
}

/// What a map says of an address.
fn own<'a>(elements: &'a BTreeSet<Element>, address: &Address) -> Option<&'a Element> {
    let key = [Atom::Address(*address)];
    elements.iter().find(|element| element.key == key)
}

/// Steps that fail together. Every tunnel device is a group of its own, so that one that cannot be made keeps no
/// other from being made; each lock, too.
fn groups(stage: Stage, steps: Vec<Step>) -> Vec<Vec<Step>> {
    match stage {
        Stage::Guard | Stage::Flow | Stage::Release | Stage::Arp => vec![steps],
        Stage::Lock | Stage::Tunnel | Stage::Route => {
            steps.into_iter().map(|step| vec![step]).collect()
        }
        Stage::Link => {
            let mut by_device: BTreeMap<String, Vec<Step>> = BTreeMap::new();
            for step in steps {
                by_device.entry(device(&step)).or_default().push(step);
            }
            by_device.into_values().collect()
        }
    }
}

fn device(step: &Step) -> String {
    match step {
        Step::AddLink(link) | Step::RemoveLink(link) | Step::SetMtu(link) => link.name.to_string(),
        Step::SetDevice(setting) => setting.device.to_string(),
        Step::SetUp(name) | Step::SetDown(name) => name.to_string(),
        Step::AddAddress { device, .. } | Step::RemoveAddress { device, .. } => device.to_string(),
        other => other.kind().to_owned(),
    }
}
