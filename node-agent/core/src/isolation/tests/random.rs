//! Interference, failures and crashes at every step.

use jiff::SignedDuration;
use postern_intent::body::{Hotspot, RemoteLinks};
use postern_plan::host::AdminState;

use super::super::{ConfirmAnswer, UplinkAct};
use super::Node;

/// Numbers that look like dice and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Something that the agent does not expect, or a new order.
fn disturb(node: &mut Node, dice: &mut Dice) {
    let names = ["eth0", "eth1", "wlan0"];
    let name = names[usize::try_from(dice.below(3)).unwrap()];
    match dice.below(8) {
        0 => node.set(name, AdminState::Up),
        1 => node.set(name, AdminState::Down),
        2 => {
            if !node.unplugged.remove(name) {
                node.unplugged.insert(name.to_owned());
            }
            let state = node.link_mut(name).state;
            node.set(name, state);
        }
        3 => node.order(&[name]),
        4 => node.answers = ConfirmAnswer::Silent,
        5 => node.answers = ConfirmAnswer::Answered,
        6 => node.now += SignedDuration::from_secs(i64::try_from(dice.below(40)).unwrap()),
        _ => {
            let ends = node.now + SignedDuration::from_secs(20);
            node.order(&[name]);
            node.isolation.hotspot = Some(Hotspot {
                access_point: "wlan0".parse().unwrap(),
                upstream: "eth1".parse().unwrap(),
                not_after: ends,
            });
        }
    }
}

#[test]
fn no_act_brings_a_link_up_while_another_one_is_up_whatever_happens_at_any_step() {
    let (mut raised, mut rolled_back) = (0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut node = Node::with(&["eth0", "eth1", "wlan0"], &["eth0"]);
        node.isolation.remote_links = RemoteLinks::Cut;
        for _ in 0..200 {
            if dice.below(3) == 0 {
                disturb(&mut node, &mut dice);
            }
            let turned = node.turn();
            let rule = turned.memory.phase.allowed().cloned();
            let may_be_up = |name: &str| {
                rule.as_ref()
                    .is_some_and(|rule| rule.names().any(|one| one == name))
            };
            for act in &turned.acts {
                if let UplinkAct::SetUp(name) = act {
                    let others: Vec<&str> = node
                        .up()
                        .into_iter()
                        .filter(|other| !may_be_up(other))
                        .collect();
                    assert_eq!(others, [""; 0], "seed {seed}: {name} comes up");
                    assert!(
                        may_be_up(name.as_str()),
                        "seed {seed}: {name} is not allowed"
                    );
                    raised += 1;
                }
            }
            // A crash between the memory and the acts, or within the acts: the next turn goes on by what is remembered.
            let keep = usize::try_from(dice.below(4)).unwrap();
            let crashed = dice.below(5) == 0;
            let mut turned = turned;
            if crashed {
                turned.acts.truncate(keep);
            }
            rolled_back += u32::from(turned.memory.rollback.is_some());
            node.carry_out(turned);
            if crashed {
                node.answer = ConfirmAnswer::Awaited;
            }
        }
        node.unplugged.clear();
        node.answers = ConfirmAnswer::Answered;
        node.isolation.hotspot = None;
        for _ in 0..12 {
            node.passes(SignedDuration::from_secs(20));
        }
        assert_eq!(node.up().len(), 1, "seed {seed}: {:?}", node.memory.phase);
    }
    assert!(
        raised > 500 && rolled_back > 20,
        "{raised} links came up, {rolled_back} turns after a rollback"
    );
}
