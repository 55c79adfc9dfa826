//! Every order of what can happen, up to a number of disturbances: a model of the node whose agent is the shipped [`turn`] and
//! [`restore`], explored to its end.
//!
//! A state has two uplinks and the second link of a hotspot, what the agent remembers on disk, the acts that it has not done yet,
//! and what the world is like. The agent reads, decides and writes its memory in one step, and does one act in each of the next
//! steps, so that everything else can happen between any two of them.
//!
//! Times are relative to now, and an age that is beyond every limit of the switch is that limit: states that nothing tells apart
//! are one state, so that there is an end.

#![expect(
    clippy::disallowed_types,
    reason = "the checker shares the model between threads, and the test alone sees what they found"
)]

mod node;
mod properties;
mod time;

use std::collections::BTreeMap;
use std::sync::Mutex;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use super::super::{IsolationTurn, SwitchPhase, UplinkAct};
use node::{ModelNode, ModelOrder, UPLINKS};

/// Disturbances of one run at most.
const DISTURBANCES: u8 = 3;

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ModelStep {
    /// The agent does the next of its acts; where none is left it reads, decides and writes its memory; where that changes nothing,
    /// ten seconds go by.
    Next,
    Disturbed(Disturbance),
}

/// What the agent does not do itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Disturbance {
    ActFails,
    AgentDies,
    /// Ten seconds go by before the agent does anything.
    AgentStalls,
    /// All links are up, and the agent has its memory.
    NodeBoots,
    Raised(usize),
    Lowered(usize),
    /// The cable or the access point goes or comes back.
    CarrierChanges(usize),
    /// What is asked before and after a switch begins or ceases to answer.
    AnswerChanges,
    Ordered(ModelOrder),
    /// A session by this link begins, or the one that is there ends.
    Session(Option<usize>),
}

type Alteration = fn(&SwitchPhase, IsolationTurn) -> IsolationTurn;

/// The model; an agent that is wrong on purpose alters what a turn says.
struct SwitchModel {
    alters: Alteration,
    /// How many steps an undisturbed node needs until it is compliant or says why not, by the fingerprint of its state.
    distances: Mutex<BTreeMap<u64, usize>>,
}

impl SwitchModel {
    fn of(alters: Alteration) -> Self {
        Self {
            alters,
            distances: Mutex::default(),
        }
    }

    /// The node once nothing is left to do at this moment.
    fn at_rest(&self, mut node: ModelNode) -> ModelNode {
        while !properties::is_at_rest(&node) {
            node = self.undisturbed(&node);
        }
        node
    }

    /// The node after the agent's next step, or after some time where none is due.
    fn undisturbed(&self, node: &ModelNode) -> ModelNode {
        if !node.pending.is_empty() {
            return node.act();
        }
        let turned = node.turn(self.alters);
        match turned == *node || node.only_asks_again(&turned) {
            true => node.wait(),
            false => turned,
        }
    }
}

impl Model for SwitchModel {
    type State = ModelNode;
    type Action = ModelStep;

    fn init_states(&self) -> Vec<ModelNode> {
        let booted = ModelNode::booted(ModelOrder::First, DISTURBANCES);
        let isolated = self.at_rest(booted.clone());
        let pair = isolated.clone().ordered(ModelOrder::Pair);
        vec![booted, isolated.ordered(ModelOrder::Second), pair]
    }

    fn actions(&self, node: &ModelNode, steps: &mut Vec<ModelStep>) {
        steps.push(ModelStep::Next);
        if node.disturbances == 0 {
            return;
        }
        let mut disturbances = vec![
            Disturbance::AgentDies,
            Disturbance::AgentStalls,
            Disturbance::NodeBoots,
            Disturbance::AnswerChanges,
        ];
        if !node.pending.is_empty() {
            disturbances.push(Disturbance::ActFails);
        }
        for at in 0..UPLINKS.len() {
            disturbances.push(match node.links[at].up {
                true => Disturbance::Lowered(at),
                false => Disturbance::Raised(at),
            });
        }
        disturbances.extend([0, 1].map(Disturbance::CarrierChanges));
        let orders = ModelOrder::ALL
            .into_iter()
            .filter(|order| *order != node.order);
        disturbances.extend(orders.map(Disturbance::Ordered));
        disturbances.push(Disturbance::Session(match node.session {
            None => Some(0),
            Some(_) => None,
        }));
        steps.extend(disturbances.into_iter().map(ModelStep::Disturbed));
    }

    fn next_state(&self, node: &ModelNode, step: ModelStep) -> Option<ModelNode> {
        Some(match step {
            ModelStep::Next => self.undisturbed(node),
            ModelStep::Disturbed(disturbance) => node.disturbed(&disturbance),
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

/// An agent that brings the goal up before the others are down.
fn goal_first(before: &SwitchPhase, mut turned: IsolationTurn) -> IsolationTurn {
    if let SwitchPhase::Isolating { switch } = &turned.memory.phase
        && turned.memory.phase != *before
    {
        let goal = switch.goal.names().filter_map(|name| name.parse().ok());
        turned.acts.extend(goal.map(UplinkAct::SetUp));
    }
    turned
}

#[test]
#[expect(
    clippy::disallowed_macros,
    reason = "the number of states is the size of the proof"
)]
fn no_disturbance_at_any_step_brings_two_uplinks_up_or_leaves_the_node_without_an_end() {
    let model = SwitchModel::of(|_, turned| turned);
    let checker = model.checker().threads(2).spawn_bfs().join();
    let longest = checker
        .model()
        .distances
        .lock()
        .unwrap()
        .values()
        .max()
        .copied();
    println!(
        "{} states of the switch with {DISTURBANCES} disturbances, {} of them different, at most {} steps from one to a rest",
        checker.state_count(),
        checker.unique_state_count(),
        longest.unwrap_or_default()
    );
    checker.assert_properties();
}

#[test]
fn the_checker_finds_an_agent_that_brings_the_goal_up_before_the_others_are_down() {
    let checker = SwitchModel::of(goal_first)
        .checker()
        .finish_when(HasDiscoveries::AnyOf([properties::ONE_RAISED].into()))
        .spawn_bfs()
        .join();
    let found = checker.discovery(properties::ONE_RAISED);
    let path = found.expect("a way to two uplinks up").into_actions();
    assert!(path.contains(&ModelStep::Next), "{path:?}");
}
