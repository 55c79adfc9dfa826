//! What holds for every body.

use postern_intent::body::{BlockedReason, Class, EgressPath};
use postern_plan::Desired;
use postern_plan::desired::names::RELEASED_CHAIN;
use postern_plan::ruleset::{Data, Target};
use proptest::prelude::*;

use crate::fixture::{OwnedInputs, client, pod, scope, scope_id};

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Released),
        Just(Class::Policy { scope: scope_id() }),
        Just(Class::Blocked {
            reason: BlockedReason::NoExit
        }),
    ]
}

fn way() -> impl Strategy<Value = EgressPath> {
    prop_oneof![
        Just(EgressPath::Tunnel),
        Just(EgressPath::NodeUplink),
        Just(EgressPath::Blocked {
            reason: BlockedReason::NoPeerKey
        }),
    ]
}

prop_compose! {
    fn world()(classes in prop::collection::vec(class(), 0..12), way in way(), bound in any::<bool>()) -> OwnedInputs {
        let mut body = client();
        body.firewall = vec![scope(way)];
        body.pods = classes
            .into_iter()
            .enumerate()
            .map(|(n, class)| {
                let last = n + 10;
                let addresses = [format!("10.244.1.{last}"), format!("fd00:10:244:1::{last}")];
                pod(&format!("p{n}"), class, &[&addresses[0], &addresses[1]])
            })
            .collect();
        let mut world = OwnedInputs::of(Some(body));
        if !bound {
            world.bindings = postern_plan::binding::Bindings::default();
        }
        world
    }
}

proptest! {
    /// The guard stands whatever the body says, and holds what it does not know.
    #[test]
    fn every_ruleset_ends_in_a_hold_by_pod_link(world in world()) {
        let ruleset = Desired::from_inputs(&world.inputs()).ruleset;
        let guard = &ruleset.inet.chains["guard"];
        let last = guard.rules.last().map(ToString::to_string);
        prop_assert_eq!(last.as_deref(), Some("iifname @podlinks goto unclassified"));
        prop_assert!(guard.rules.iter().all(|rule| !rule.to_string().contains("ct state established")));
    }

    /// Only a pod that the body releases goes to the chain that accepts everything.
    #[test]
    fn nobody_is_released_whom_the_body_does_not_release(world in world()) {
        let desired = Desired::from_inputs(&world.inputs());
        let body = world.body.as_ref();
        let elements = ["from4", "from6"].map(|name| &desired.ruleset.inet.sets[name].elements);
        for element in elements.into_iter().flatten() {
            if element.data == Some(Data::Verdict(Target::Goto(RELEASED_CHAIN.to_owned()))) {
                let address = element.key[0].to_string();
                let released = body.is_some_and(|body| body.pods.iter().any(|pod| {
                    pod.class == Class::Released && pod.addresses.iter().any(|own| own.to_string() == address)
                }));
                prop_assert!(released, "{} is released", address);
            }
        }
    }

    /// The same inputs give the same bytes.
    #[test]
    fn the_same_inputs_print_the_same_ruleset(world in world()) {
        let first = Desired::from_inputs(&world.inputs()).ruleset.to_string();
        prop_assert_eq!(first, Desired::from_inputs(&world.inputs()).ruleset.to_string());
    }
}
