//! Which steps come first: guard, lock, flows, links, tunnels, routes; release last. Teardown of links and routes stands
//! where nothing refers to them any more.

use postern_intent::WgKey;

use crate::desired::Desired;
use crate::diff;
use crate::diff::firewall::{FirewallState, Learned};
use crate::observed::Observed;
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
    /// Tunnel devices.
    Link,
    /// WireGuard configurations.
    Tunnel,
    /// Routes and rules.
    Route,
    /// What opens.
    Release,
}

impl Stage {
    /// Must everything in it stand before anything is released?
    #[must_use]
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Guard | Self::Lock | Self::Flow)
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
        }
    }
}

/// Steps by stage, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Stages without steps are not listed.
    pub stages: Vec<(Stage, Vec<Step>)>,
}

impl Plan {
    /// Nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// All steps in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|(_, steps)| steps)
    }
}

/// What the plan is made from besides the two pictures of the host.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    /// What the host was last made to look like.
    pub before: &'a Desired,
    /// Expressions that were read back right after they were written.
    pub learned: &'a Learned,
    /// This node's WireGuard key.
    pub own_key: &'a WgKey,
}

/// The plan from what is there to what should be there, flows apart.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed, planning: &Planning<'_>) -> Plan {
    let state = FirewallState::read(&observed.firewall, &desired.ruleset, planning.learned);
    let firewall = diff::firewall::change(&state, &desired.ruleset);
    let batch = |transaction: crate::ruleset::Transaction| {
        if transaction.is_empty() {
            Vec::new()
        } else {
            vec![Step::Firewall(transaction)]
        }
    };
    let mut locks = diff::lock::additions(desired, observed);
    locks.extend(diff::lock::removals(desired, observed));
    let mut links = diff::link::removals(desired, observed);
    links.extend(diff::link::additions(desired, observed));
    let mut routes = diff::route::removals(desired, observed);
    routes.extend(diff::route::additions(desired, observed));
    let stages = [
        (Stage::Guard, batch(firewall.guard)),
        (Stage::Lock, locks),
        (Stage::Link, links),
        (
            Stage::Tunnel,
            diff::tunnel::changes(desired, observed, planning.own_key),
        ),
        (Stage::Route, routes),
        (Stage::Release, batch(firewall.release)),
    ];
    Plan {
        stages: stages
            .into_iter()
            .filter(|(_, steps)| !steps.is_empty())
            .collect(),
    }
}
