//! The ruleset as nft is told it, as golden files.

use crate::fixture::{OwnedInputs, client, gateway};
use postern_plan::Desired;

#[test]
fn a_node_without_an_intent_holds_every_pod() {
    let world = OwnedInputs::of(None);
    insta::assert_snapshot!(Desired::from_inputs(&world.inputs()).ruleset);
}

#[test]
fn a_client_node_lets_a_selected_pod_out_by_its_tunnel_only() {
    let world = OwnedInputs::of(Some(client()));
    insta::assert_snapshot!(Desired::from_inputs(&world.inputs()).ruleset);
}

#[test]
fn a_gateway_with_an_egress_address_translates_to_it() {
    let world = OwnedInputs::of(Some(gateway(&["203.0.113.10"])));
    insta::assert_snapshot!(Desired::from_inputs(&world.inputs()).ruleset);
}

#[test]
fn a_gateway_without_an_egress_address_masquerades() {
    let world = OwnedInputs::of(Some(gateway(&[])));
    insta::assert_snapshot!(Desired::from_inputs(&world.inputs()).ruleset);
}
