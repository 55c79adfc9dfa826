//! What holds in every state, and what must be reached so that the rest says something.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use stateright::Property;

use super::super::super::{Restoration, SwitchPhase};
use super::SwitchModel;
use super::node::{ModelNode, ModelOrder, UPLINKS};

pub(super) const ONE_RAISED: &str =
    "no two uplinks are up but the hotspot's pair and what others raised";
/// Steps that an undisturbed node needs at most.
const STEPS: usize = 60;

pub(super) fn all() -> Vec<Property<SwitchModel>> {
    vec![
        Property::always(ONE_RAISED, |_, node: &ModelNode| one_raised(node)),
        Property::always(
            "packets leave by one uplink or the pair",
            |_, node: &ModelNode| {
                node.guard
                    .is_none_or(|passes| is_one_or_pair(&|at| passes[at]))
            },
        ),
        Property::always(
            "what others raised carries nothing",
            |_, node: &ModelNode| guarded(node),
        ),
        Property::always(
            "no link is raised while another one is seen up",
            |_, node: &ModelNode| !node.raised_unseen,
        ),
        Property::always("no new order cuts a session", |_, node: &ModelNode| {
            !node.cut_session
        }),
        Property::always("an undisturbed node comes to a rest", rests),
        Property::sometimes("the pair is up alone", |_, node: &ModelNode| {
            let up = node.links.map(|link| link.up && !link.raised_by_other);
            up == [false, true, true] && matches!(node.memory.phase, SwitchPhase::Settled { .. })
        }),
        Property::sometimes("a switch is rolled back", |_, node: &ModelNode| {
            node.memory.rollback.is_some()
        }),
        Property::sometimes("an order is held", |_, node: &ModelNode| {
            node.session.is_some() && node.finding().state == IsolationState::Held
        }),
        Property::sometimes(
            "another program raises a link in a switch",
            |_, node: &ModelNode| {
                let others = node
                    .links
                    .iter()
                    .filter(|link| link.up && link.raised_by_other);
                matches!(node.memory.phase, SwitchPhase::Raising { .. }) && others.count() > 0
            },
        ),
    ]
}

/// One link, or the two of the hotspot.
fn is_one_or_pair(holds: &dyn Fn(usize) -> bool) -> bool {
    let named: Vec<usize> = (0..UPLINKS.len()).filter(|at| holds(*at)).collect();
    named.len() < 2 || named == [1, 2]
}

fn one_raised(node: &ModelNode) -> bool {
    is_one_or_pair(&|at| node.links[at].up && !node.links[at].raised_by_other)
}

/// A link that is up because of others is refused by the guard unless it is what the rule allows.
fn guarded(node: &ModelNode) -> bool {
    let (Some(passes), Some(rule)) = (node.guard, node.memory.phase.allowed()) else {
        return node.guard.is_none();
    };
    let names = UPLINKS.iter().zip(node.links).zip(passes);
    let mut others = names.filter(|((name, link), _)| {
        link.up && link.raised_by_other && !rule.names().any(|one| one == **name)
    });
    !others.any(|(_, passes)| passes)
}

/// The state in which the node stays: compliant, rolled back, held, or with the reason why there is no other uplink.
pub(super) fn is_at_rest(node: &ModelNode) -> bool {
    if !node.pending.is_empty() {
        return false;
    }
    if node.order == ModelOrder::LetGo {
        return match node.way_back() {
            Restoration::Acts(_) => false,
            Restoration::AwaitsCarrier => true,
            Restoration::Done => node.memory.phase == SwitchPhase::Open,
        };
    }
    let finding = node.finding();
    let says = match finding.state {
        IsolationState::Compliant | IsolationState::RolledBack | IsolationState::Held => true,
        _ => finding.reason == Reason::NotConfirmed,
    };
    let is_alone = || {
        let Some(rule) = node.memory.phase.allowed() else {
            return true;
        };
        let mut up = UPLINKS.iter().zip(node.links).filter(|(_, link)| link.up);
        up.all(|(name, _)| rule.names().any(|one| one == *name))
    };
    says && is_alone()
}

fn fingerprint(node: &ModelNode) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}

fn rests(model: &SwitchModel, node: &ModelNode) -> bool {
    let mut way = Vec::new();
    let mut node = node.calm();
    let left = loop {
        let print = fingerprint(&node);
        if let Some(known) = model.distances.lock().unwrap().get(&print) {
            break *known;
        }
        way.push(print);
        if is_at_rest(&node) {
            way.pop();
            model.distances.lock().unwrap().insert(print, 0);
            break 0;
        }
        if way.len() > STEPS {
            break STEPS;
        }
        node = model.undisturbed(&node);
    };
    let total = left + way.len();
    let mut distances = model.distances.lock().unwrap();
    for (steps, print) in way.into_iter().rev().enumerate() {
        distances.insert(print, left + steps + 1);
    }
    total <= STEPS
}
