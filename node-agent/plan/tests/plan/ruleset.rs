//! The ruleset as nft is told it, as golden files.

use crate::fixture::{OwnedInputs, client, gateway, scope_id, word};
use postern_intent::Prefix;
use postern_intent::body::{Access, Rule};
use postern_plan::Desired;
use postern_plan::desired::names::scope_chain;

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

/// The kernel looks a destination up once for each rule, so that prefixes cost no rules.
#[test]
fn a_rule_of_a_policy_has_as_many_rules_with_five_hundred_prefixes_as_with_one_of_each_family() {
    let rules = |prefixes: Vec<Prefix>| {
        let mut body = client();
        body.firewall[0].terms.rules = vec![Rule {
            name: "far".to_owned(),
            action: Access::Allow,
            to: prefixes,
            names: Vec::new(),
            ports: Vec::new(),
        }];
        let desired = Desired::from_inputs(&OwnedInputs::of(Some(body)).inputs());
        let chain = &desired.ruleset.inet.chains[&scope_chain(&scope_id())];
        chain.rules.len()
    };
    // No two are neighbours, which would be joined.
    let four = (0..250).map(|number| word(&format!("203.0.{number}.0/28")));
    let six = (0..250).map(|number| word(&format!("2001:db8:{number:x}::/56")));
    let few = vec![word("203.0.0.0/28"), word("2001:db8:0::/56")];
    assert_eq!(rules(four.chain(six).collect()), rules(few));
}
