//! One turn: from the memory and one reading of the links to the next phase and the acts that are due.

mod goal;
mod notes;

use jiff::{SignedDuration, Timestamp};
use postern_intent::IfName;
use postern_plan::host::{AdminState, Carrier};

use super::act::UplinkAct;
use super::domain::{LinkDomain, Uplink};
use super::finding::{self, HeldLink, IsolationFinding};
use super::inputs::{ConfirmAnswer, IsolationInputs};
use super::memory::{
    AllowedUplinks, Confirmation, FailedUplink, IsolationMemory, SwitchFailure, SwitchPhase,
    SwitchRollback, UplinkSwitch,
};
use super::selection::choose;

/// How long an uplink that came up may be without a carrier, and one in use may lose it, before another one is tried.
pub const CARRIER_WAIT: SignedDuration = SignedDuration::from_secs(10);
/// How long an uplink that failed is not tried again while the one in use has a carrier no more.
pub const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How long the question before a switch may stay without an answer.
pub const PREPARE_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// What follows. The memory is written before the acts are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationTurn {
    pub memory: IsolationMemory,
    pub acts: Vec<UplinkAct>,
    pub finding: IsolationFinding,
    /// When something is due without an event.
    pub wake: Option<Timestamp>,
}

/// One turn. It is asked again until it changes nothing and asks for nothing.
#[must_use]
pub fn turn(memory: &IsolationMemory, inputs: &IsolationInputs<'_>) -> IsolationTurn {
    let domain = LinkDomain::new(inputs.isolation, inputs.pod_links);
    let uplinks = domain.uplinks(inputs.links, inputs.wireless);
    let mut turning = Turning::new(memory, inputs, &uplinks);
    turning.note_order();
    turning.note_carrier();
    turning.step();
    turning.restore_links();
    turning.note_links();
    let Turning {
        memory,
        acts,
        held,
        wake,
        ..
    } = turning;
    let finding = finding::of(&memory, inputs, (&domain, &uplinks), held);
    IsolationTurn {
        memory,
        acts,
        finding,
        wake,
    }
}

struct Turning<'a> {
    memory: IsolationMemory,
    inputs: &'a IsolationInputs<'a>,
    uplinks: &'a [Uplink],
    acts: Vec<UplinkAct>,
    held: Option<HeldLink>,
    wake: Option<Timestamp>,
}

impl<'a> Turning<'a> {
    fn new(
        memory: &IsolationMemory,
        inputs: &'a IsolationInputs<'a>,
        uplinks: &'a [Uplink],
    ) -> Self {
        Self {
            memory: memory.clone(),
            inputs,
            uplinks,
            acts: Vec::new(),
            held: None,
            wake: None,
        }
    }

    fn step(&mut self) {
        let Some(wanted) = self.wanted() else {
            return;
        };
        let wanted = match self.goes_on_with(&wanted) {
            Some(goal) => goal,
            None => wanted,
        };
        match self.memory.phase.clone() {
            SwitchPhase::Open => self.begin(wanted, None),
            SwitchPhase::Settled { allowed } if allowed == wanted => {
                self.take_order();
                self.enforce(&allowed);
            }
            SwitchPhase::Settled { allowed } => {
                self.begin(wanted, Some(allowed));
                // Until the switch begins, the former uplink is guarded as before.
                if let Some(rule) = self.memory.phase.allowed().cloned() {
                    self.enforce(&rule);
                }
            }
            SwitchPhase::Preparing { goal, previous, .. } if goal != wanted => {
                self.begin(wanted, previous);
            }
            SwitchPhase::Preparing {
                goal,
                previous,
                since,
            } => self.prepare(goal, previous, since),
            SwitchPhase::Isolating { switch } => {
                let switch = UplinkSwitch {
                    goal: wanted,
                    ..switch
                };
                self.isolate(switch);
            }
            // A switch that is called off goes through the state in which nothing but its goal may be up, as a rollback does.
            SwitchPhase::Raising { switch, .. } | SwitchPhase::Confirming { switch, .. }
                if switch.goal != wanted =>
            {
                self.move_on(wanted, switch.previous, switch.confirmation);
            }
            SwitchPhase::Raising { switch, since } => self.raise(switch, since),
            SwitchPhase::Confirming { switch, until } => self.confirm(switch, until),
        }
    }

    fn begin(&mut self, goal: AllowedUplinks, previous: Option<AllowedUplinks>) {
        self.held = self.cut_by(&goal);
        if self.held.is_some() {
            return;
        }
        self.take_order();
        if self.others_up(&goal).is_empty() && self.to_raise(&goal).is_empty() {
            self.settle(goal, None);
            return;
        }
        self.acts.push(UplinkAct::Ask);
        self.memory.phase = SwitchPhase::Preparing {
            goal,
            previous,
            since: self.inputs.now,
        };
    }

    fn prepare(
        &mut self,
        goal: AllowedUplinks,
        previous: Option<AllowedUplinks>,
        since: Timestamp,
    ) {
        if let Some(previous) = &previous {
            self.enforce(previous);
        }
        self.held = self.cut_by(&goal);
        if self.held.is_some() {
            // The order is not taken: it is a new one for as long as it is held.
            self.memory.digest = None;
            self.memory.phase = match previous {
                Some(allowed) => SwitchPhase::Settled { allowed },
                None => SwitchPhase::Open,
            };
            return;
        }
        let (now, late) = (self.inputs.now, since + PREPARE_WAIT);
        let confirmation = match self.inputs.answer {
            ConfirmAnswer::Answered => Confirmation::Required,
            // One connection that is refused or late is no proof that nothing answers.
            ConfirmAnswer::Awaited | ConfirmAnswer::Silent if now < late => {
                self.acts.push(UplinkAct::Ask);
                return self.wakes(late);
            }
            ConfirmAnswer::Silent | ConfirmAnswer::Awaited => Confirmation::Unneeded,
        };
        // Acts for the former uplink are not acts for the goal.
        self.acts.clear();
        let previous = previous.or_else(|| self.way_back(&goal));
        self.move_on(goal, previous, confirmation);
    }

    fn isolate(&mut self, switch: UplinkSwitch) {
        if self.held.is_none() {
            self.take_order();
        }
        if self.set_others_down(&switch.goal) == Others::Down {
            let since = self.inputs.now;
            self.memory.phase = SwitchPhase::Raising { switch, since };
        } else {
            self.memory.phase = SwitchPhase::Isolating { switch };
        }
    }

    fn raise(&mut self, switch: UplinkSwitch, since: Timestamp) {
        let (now, late) = (self.inputs.now, since + CARRIER_WAIT);
        if self.set_others_down(&switch.goal) == Others::Up {
            return;
        }
        let down = self.to_raise(&switch.goal);
        let upstream = uplink_of(self.uplinks, switch.goal.upstream());
        let carries = upstream.is_some_and(|uplink| uplink.carrier == Carrier::Present);
        if !down.is_empty() || !carries {
            if now >= late {
                return self.fail(switch, SwitchFailure::NoCarrier);
            }
            self.acts.extend(down.into_iter().map(UplinkAct::SetUp));
            return self.wakes(late);
        }
        if switch.confirmation == Confirmation::Unneeded {
            self.settle(switch.goal, Some(Confirmation::Unneeded));
            return;
        }
        let within = i64::from(self.inputs.isolation.confirm_within_seconds);
        self.acts.push(UplinkAct::Ask);
        self.memory.phase = SwitchPhase::Confirming {
            switch,
            until: now + SignedDuration::from_secs(within),
        };
    }

    fn confirm(&mut self, switch: UplinkSwitch, until: Timestamp) {
        self.enforce(&switch.goal);
        if self.inputs.answer == ConfirmAnswer::Answered {
            let allowed = switch.goal;
            // A switch that was rolled back once and is confirmed now is no failure any more.
            self.memory.failed.remove(&allowed.key());
            self.memory.rollback = self
                .memory
                .rollback
                .take()
                .filter(|one| one.goal != allowed);
            self.settle(allowed, Some(Confirmation::Required));
        } else if self.inputs.now >= until {
            // Acts for this goal are not acts for the next one.
            self.acts.clear();
            self.fail(switch, SwitchFailure::NotConfirmed);
        } else {
            self.acts.push(UplinkAct::Ask);
            self.wakes(until);
        }
    }

    /// The way back goes through the state in which the failed uplink is down.
    fn fail(&mut self, switch: UplinkSwitch, reason: SwitchFailure) {
        let at = self.inputs.now;
        let failed = FailedUplink { reason, at };
        self.memory.failed.insert(switch.goal.key(), failed);
        let works = |rule: &AllowedUplinks| {
            let is_there = uplink_of(self.uplinks, rule.upstream()).is_some();
            is_there && !self.memory.failed.contains_key(&rule.key())
        };
        let previous = switch.previous.clone().filter(works);
        let Some(back) = previous.or_else(|| self.way_back(&switch.goal)) else {
            self.settle(switch.goal, None);
            return;
        };
        if reason == SwitchFailure::NotConfirmed {
            let goal = switch.goal;
            self.memory.rollback = Some(SwitchRollback { goal, at });
        }
        self.move_on(back, None, Confirmation::Unneeded);
    }

    fn settle(&mut self, allowed: AllowedUplinks, confirmation: Option<Confirmation>) {
        self.memory.confirmation = confirmation;
        self.memory.phase = SwitchPhase::Settled { allowed };
    }

    fn move_on(
        &mut self,
        goal: AllowedUplinks,
        previous: Option<AllowedUplinks>,
        confirmation: Confirmation,
    ) {
        if self.held.is_none() {
            self.take_order();
        }
        let since = self.inputs.now;
        let switch = UplinkSwitch {
            goal,
            previous,
            confirmation,
            since,
        };
        self.memory.phase = SwitchPhase::Isolating { switch };
    }

    /// The best uplink besides those of the rule, if one has not failed.
    fn way_back(&self, goal: &AllowedUplinks) -> Option<AllowedUplinks> {
        let others = self
            .uplinks
            .iter()
            .filter(|uplink| !goal.allows(&uplink.members));
        let others: Vec<Uplink> = others.cloned().collect();
        let best = choose(&others, self.inputs.isolation, &self.memory.failed)?;
        let has_failed = self.memory.failed.contains_key(&best.name);
        (!has_failed).then(|| AllowedUplinks::Single {
            uplink: best.name.clone(),
        })
    }

    /// Nothing but the rule is up: what is up against it goes down first, and only then what is down comes up.
    fn enforce(&mut self, rule: &AllowedUplinks) {
        if self.set_others_down(rule) == Others::Down {
            let down = self.to_raise(rule);
            self.acts.extend(down.into_iter().map(UplinkAct::SetUp));
        }
    }

    fn set_others_down(&mut self, rule: &AllowedUplinks) -> Others {
        let up = self.others_up(rule);
        if up.is_empty() {
            return Others::Down;
        }
        self.acts.extend(up.into_iter().map(UplinkAct::SetDown));
        Others::Up
    }

    fn others_up(&self, rule: &AllowedUplinks) -> Vec<IfName> {
        let others = self
            .uplinks
            .iter()
            .filter(|uplink| !rule.allows(&uplink.members));
        let up = others.flat_map(|uplink| &uplink.up);
        up.filter_map(|name| name.parse().ok()).collect()
    }

    /// Members that are down, but for those that were down before the isolation and that nothing names.
    fn to_raise(&self, rule: &AllowedUplinks) -> Vec<IfName> {
        let mut down = Vec::new();
        for uplink in self
            .uplinks
            .iter()
            .filter(|uplink| rule.allows(&uplink.members))
        {
            let is_wanted = |name: &&String| {
                let was_up = self.memory.baseline.get(*name) == Some(&AdminState::Up);
                was_up || **name == uplink.name || rule.names().any(|named| named == *name)
            };
            let members = uplink.members.difference(&uplink.up).filter(is_wanted);
            down.extend(members.filter_map(|name| name.parse().ok()));
        }
        down
    }

    fn wakes(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Are all uplinks down that the rule does not allow?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    Down,
    Up,
}

fn uplink_of<'a>(uplinks: &'a [Uplink], name: &str) -> Option<&'a Uplink> {
    uplinks.iter().find(|uplink| uplink.members.contains(name))
}
