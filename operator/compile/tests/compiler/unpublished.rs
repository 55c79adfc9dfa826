//! What a compile let go and nobody could publish: the next one lets it go on the same grounds.

use jiff::SignedDuration;
use postern_compile::NodeOutcome;
use postern_compile::snapshot::Lifecycle;
use postern_intent::NodeName;
use rstest::rstest;

use super::changes::{Change, Denies, NO_RED_POLICY, make, red_policy, start, with_a_policy};
use super::world::World;

/// How a namespace's pods come to go.
#[derive(Clone, Copy)]
enum Loosening {
    PolicyDeleted,
    SelectorChanged,
    DenyLabelRemoved,
    Forgotten,
    DenialForgotten,
}

impl Loosening {
    /// The four pods of namespace red, enforced; then what lets them go.
    fn world(self) -> World {
        let mut world = match self {
            Self::PolicyDeleted | Self::SelectorChanged | Self::Forgotten => with_a_policy(),
            Self::DenyLabelRemoved | Self::DenialForgotten => denied(),
        };
        match self {
            Self::PolicyDeleted => make(&mut world, &NO_RED_POLICY),
            // No pod of the namespace is this app's.
            Self::SelectorChanged => {
                for name in 0..4 {
                    make(
                        &mut world,
                        &Change::Relabel {
                            namespace: 0,
                            name,
                            app: 0,
                        },
                    );
                }
                world.compile();
                make(&mut world, &red_policy(1));
            }
            Self::Forgotten => {
                world.memory = Default::default();
                make(&mut world, &NO_RED_POLICY);
            }
            Self::DenyLabelRemoved => make(&mut world, &namespace(Denies::No)),
            Self::DenialForgotten => {
                world.memory = Default::default();
                make(&mut world, &namespace(Denies::No));
            }
        }
        world
    }
}

fn namespace(denies: Denies) -> Change {
    Change::Namespace {
        namespace: 0,
        denies,
        lifecycle: Lifecycle::Live,
    }
}

fn denied() -> World {
    let mut world = start();
    make(&mut world, &namespace(Denies::Yes));
    world.compile();
    world
}

fn nobody(_: &NodeName) -> bool {
    false
}

#[rstest]
#[case::a_policy_deleted(Loosening::PolicyDeleted)]
#[case::a_selector_changed(Loosening::SelectorChanged)]
#[case::a_label_removed(Loosening::DenyLabelRemoved)]
#[case::a_policy_forgotten(Loosening::Forgotten)]
#[case::a_denial_forgotten(Loosening::DenialForgotten)]
fn an_approval_stays_good_until_what_it_lets_go_is_published(#[case] loosening: Loosening) {
    let mut world = loosening.world();
    world.settings.gate.pods = 0;
    let held = world.compile().held;
    assert_eq!(held.len(), 1, "{held:?}");
    world.approve(held.iter());
    for _ in 0..3 {
        world.wait(SignedDuration::from_mins(1));
        let unwritten = world.compile_for(nobody);
        assert!(unwritten.held.is_empty(), "{:?}", unwritten.held);
        assert_eq!(world.released("red"), 0);
    }
    world.wait(SignedDuration::from_mins(1));
    world.compile_for(|node| node.as_str() == "node0");
    assert_eq!(world.released("red"), 1);
    world.compile();
    assert_eq!(world.released("red"), 4);
    let after = world.compile();
    assert!(after.memory.held.is_empty(), "{:?}", after.memory.held);
}

#[rstest]
#[case::a_policy_deleted(Loosening::PolicyDeleted)]
#[case::a_selector_changed(Loosening::SelectorChanged)]
#[case::a_label_removed(Loosening::DenyLabelRemoved)]
fn what_is_let_go_again_counts_once(#[case] loosening: Loosening) {
    let mut world = loosening.world();
    world.settings.gate.pods = 4;
    let memory = world.compile_for(nobody).memory;
    for _ in 0..3 {
        world.wait(SignedDuration::from_secs(7));
        let again = world.compile_for(nobody);
        assert!(again.held.is_empty(), "{:?}", again.held);
        assert_eq!(again.memory, memory);
    }
    world.compile();
    assert_eq!(world.released("red"), 4);
}

#[test]
fn what_goes_node_by_node_goes_on_going_while_the_limit_shrinks() {
    let mut world = Loosening::PolicyDeleted.world();
    // Four pods are enforced, and all of them may go at once.
    (world.settings.gate.pods, world.settings.gate.percent) = (0, 100);
    for written in 1..=4 {
        world.wait(SignedDuration::from_secs(7));
        let compilation =
            world.compile_for(|node| node.as_str() < format!("node{written}").as_str());
        assert!(compilation.held.is_empty(), "{:?}", compilation.held);
        assert_eq!(world.released("red"), written);
    }
}

#[test]
fn an_approval_that_is_withdrawn_before_it_has_an_effect_approves_nothing() {
    let mut world = Loosening::PolicyDeleted.world();
    world.settings.gate.pods = 0;
    let held = world.compile().held;
    world.approve(held.iter());
    world.compile_for(nobody);
    world.approvals.clear();
    let waits = world.compile();
    assert_eq!((waits.held.len(), world.released("red")), (1, 0));
}

#[test]
fn nothing_new_is_published_for_a_node_that_has_not_spoken_and_nothing_is_used_up_by_it() {
    let mut world = Loosening::PolicyDeleted.world();
    world.settings.gate.pods = 0;
    let held = world.compile().held;
    world.approve(held.iter());
    let node: NodeName = "node2".parse().expect("a name");
    world.awaited = [node.clone()].into();
    let compilation = world.compile();
    assert_eq!(compilation.nodes[&node], NodeOutcome::Awaited);
    let verdict = compilation
        .verdicts
        .iter()
        .find(|one| one.name == "node2")
        .expect("a verdict");
    let reasons = verdict
        .conditions
        .iter()
        .map(|finding| finding.reason.as_str());
    assert!(
        reasons.into_iter().any(|reason| reason == "Pending"),
        "{verdict:?}"
    );
    assert_eq!(world.released("red"), 3);
    world.awaited.clear();
    assert!(world.compile().held.is_empty());
    assert_eq!(world.released("red"), 4);
}
