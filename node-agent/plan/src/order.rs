//! Which steps come first: guard, lock, flows, release, ARP, links, tunnels, routes. Teardown of links and routes stands where
//! nothing refers to them any more.
//!
//! What is released needs the guard, the lock and the cut of its own old flows, and no tunnel: a tunnel process that hangs keeps no
//! pod from its network that has nothing to do with tunnels.

use std::collections::BTreeSet;

use postern_intent::{Prefix, WgKey};

use crate::desired::Desired;
use crate::diff;
use crate::diff::learned::Learned;
use crate::diff::table_state::FirewallState;
use crate::flow::FlowCut;
use crate::observed::Observed;
use crate::ruleset::Transaction;
use crate::step::Step;

/// A stage of a plan. A failure in a stage that blocks keeps the release from happening; a failure in another stage
/// keeps nobody else's way out from being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The firewall, without what releases.
    Guard,
    /// The lock that does not depend on it.
    Lock,
    /// Flows whose class changed, as soon as no new entry can be made under the old rules.
    Flow,
    Release,
    /// Silence about tunnel addresses, before a device has them.
    Arp,
    Link,
    Tunnel,
    Route,
}

impl Stage {
    /// Must everything in it stand before anything is released? A cut that fails holds back its own addresses only.
    #[must_use]
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Guard | Self::Lock)
    }

    /// As a metric label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Lock => "lock",
            Self::Link => "link",
            Self::Tunnel => "tunnel",
            Self::Route => "route",
            Self::Flow => "flow",
            Self::Release => "release",
            Self::Arp => "arp",
        }
    }
}

/// Steps by stage, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepPlan {
    /// Stages without steps are not listed.
    pub stages: Vec<(Stage, Vec<Step>)>,
}

impl StepPlan {
    /// These stages, without those that have no steps.
    #[must_use]
    pub fn of(stages: impl IntoIterator<Item = (Stage, Vec<Step>)>) -> Self {
        let stages = stages.into_iter().filter(|(_, steps)| !steps.is_empty());
        Self {
            stages: stages.collect(),
        }
    }

    /// Flows are cut right after the guard and the lock stand, and before anything opens.
    #[must_use]
    pub fn cutting(mut self, cut: FlowCut) -> Self {
        if !cut.addresses.is_empty() {
            let mut stages = self.stages.iter();
            let at = stages.position(|(stage, _)| *stage > Stage::Flow);
            let cut = (Stage::Flow, vec![Step::CutFlows(cut)]);
            self.stages.insert(at.unwrap_or(self.stages.len()), cut);
        }
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// All steps in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|(_, steps)| steps)
    }
}

/// Everything of ours goes: routes and rules, devices, locks; the guard last. Before it the flows of former clients in these
/// tunnel ranges: without the guard the world's answers to them would be translated and leave by the default route.
#[must_use]
pub fn teardown(observed: &Observed, tunnels: &[Prefix]) -> Vec<Step> {
    let nothing = Desired::default();
    let mut steps = diff::route::removals(&nothing, observed);
    steps.extend(diff::link::removals(&nothing, observed));
    steps.extend(diff::lock::removals(&nothing, observed));
    if observed.firewall.inet.is_some() && !tunnels.is_empty() {
        steps.push(Step::CutFlows(FlowCut {
            clients: tunnels.to_vec(),
            ..FlowCut::default()
        }));
    }
    if observed.firewall.inet.is_some() || observed.firewall.bridge.is_some() {
        steps.push(Step::Firewall(Transaction::remove()));
    }
    if observed.firewall.arp.is_some() {
        steps.push(Step::Firewall(Transaction::remove_arp()));
    }
    steps
}

fn batch(transaction: Transaction) -> Vec<Step> {
    if transaction.is_empty() {
        Vec::new()
    } else {
        vec![Step::Firewall(transaction)]
    }
}

/// How our tables are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableChange {
    /// By what differs, where the base chains allow it.
    #[default]
    Edited,
    /// As a whole: the kernel refused an edit. What is not compared, such as a declaration that this agent does not understand, may
    /// be why, and then it would refuse every later edit too.
    Replaced,
}

/// Whether the kernel has tables of the arp family (`CONFIG_NF_TABLES_ARP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArpTables {
    /// It has, or it has not refused one yet.
    #[default]
    Supported,
    /// It refused one as unsupported.
    Unsupported,
}

/// What the plan is made from besides the two pictures of the host.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// How the tables are changed.
    pub tables: TableChange,
    /// Whether an ARP table is planned.
    pub arp: ArpTables,
    /// Expressions that were read back right after they were written.
    pub learned: &'a Learned,
    /// This node's WireGuard key.
    pub own_key: &'a WgKey,
}

/// The plan from what is there to what should be there, flows apart.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed, planning: &PlanContext<'_>) -> StepPlan {
    plan_readable(desired, observed, &BTreeSet::new(), planning)
}

/// The plan from a reading with gaps. Nothing is planned from a part that was not read, but the blocks: the guard is then
/// written whole, with its releases, because without them everybody whom no policy selects would be held; locks are added
/// and none is taken away.
#[must_use]
pub fn plan_readable(
    desired: &Desired,
    observed: &Observed,
    unread: &BTreeSet<Stage>,
    planning: &PlanContext<'_>,
) -> StepPlan {
    let is_read = |stage: Stage| !unread.contains(&stage);
    let state = is_read(Stage::Guard)
        .then(|| FirewallState::read(&observed.firewall, &desired.ruleset, planning.learned));
    let state = state.unwrap_or_default();
    let firewall = match planning.tables {
        TableChange::Edited => diff::firewall::change(&state, &desired.ruleset),
        TableChange::Replaced => diff::firewall::replacement(&state, &desired.ruleset),
    };
    let mut stages = vec![
        (Stage::Guard, batch(firewall.guard)),
        (Stage::Lock, locks(desired, observed, unread)),
    ];
    if is_read(Stage::Guard) {
        stages.push((Stage::Release, batch(firewall.release)));
        if planning.arp == ArpTables::Supported {
            let arp = diff::firewall::change_arp(&state, &desired.ruleset);
            stages.push((Stage::Arp, batch(arp)));
        }
    }
    if is_read(Stage::Link) {
        let mut links = diff::link::removals(desired, observed);
        links.extend(diff::link::additions(desired, observed));
        let tunnels = diff::tunnel::changes(desired, observed, planning.own_key);
        stages.extend([(Stage::Link, links), (Stage::Tunnel, tunnels)]);
    }
    // A route can only be made over a device that is known to be there.
    if is_read(Stage::Link) && is_read(Stage::Route) {
        let mut routes = diff::route::removals(desired, observed);
        routes.extend(diff::route::additions(desired, observed));
        stages.push((Stage::Route, routes));
    }
    StepPlan::of(stages)
}

fn locks(desired: &Desired, observed: &Observed, unread: &BTreeSet<Stage>) -> Vec<Step> {
    let mut locks = diff::lock::additions(desired, observed);
    if !unread.contains(&Stage::Lock) {
        locks.extend(diff::lock::removals(desired, observed));
    }
    locks
}
