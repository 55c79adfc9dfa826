//! What the chains of a scope let out, read from the rules and from nothing that anybody says of them.

use std::collections::BTreeSet;

use postern_intent::body::{AdminAction, BlockedReason, Body, EgressPath};
use postern_plan::Desired;
use postern_plan::desired::names;
use postern_plan::host::Family;
use postern_plan::ruleset::{FirewallRule, Match, MatchField, Target};

use crate::fixture::{OwnedInputs, administrator, client, external, gateway, scope_id, word};

/// The chains that a packet of the scope can come to on its way out, from the scope's own.
fn reachable(desired: &Desired) -> BTreeSet<String> {
    let inside = ["inside", "replies"].map(str::to_owned);
    let mut seen = BTreeSet::new();
    let mut open = vec![names::scope_chain(&scope_id())];
    while let Some(name) = open.pop() {
        let chain = desired.ruleset.inet.chains.get(&name).unwrap();
        for rule in &chain.rules {
            if let Target::Goto(next) | Target::Jump(next) = &rule.target
                && !inside.contains(next)
                && !seen.contains(next)
            {
                open.push(next.clone());
            }
        }
        seen.insert(name);
    }
    seen
}

/// Does every chain that accepts refuse all devices but this one first?
fn accepts_only_by(desired: &Desired, device: &str) -> bool {
    let others: Match = MatchField::Oif.not_named(device);
    reachable(desired).iter().all(|name| {
        let rules = &desired.ruleset.inet.chains[name].rules;
        let accepts = |rule: &FirewallRule| rule.target == Target::Accept;
        let refuses = |rule: &FirewallRule| {
            rule.target == Target::Goto("refuse".to_owned()) && rule.matches == [others.clone()]
        };
        match rules.iter().position(accepts) {
            None => true,
            Some(at) => rules.iter().take(at).any(refuses),
        }
    })
}

/// The same body with administrators who allow everything.
fn allowed(mut body: Body) -> Body {
    body.firewall[0].terms.admin = vec![administrator("all", AdminAction::Allow, &[])];
    body
}

/// A world, and the same with everything that a node may lack.
fn worlds(body: &Body) -> Vec<OwnedInputs> {
    let changes: [fn(&mut OwnedInputs); 5] = [
        |_| {},
        |world| world.facts.tunnel_backend = None,
        |world| world.facts.absent = Family::BOTH.into(),
        |world| world.facts.bypassed = [word("veth1")].into(),
        |world| world.bindings = postern_plan::binding::Bindings::default(),
    ];
    changes
        .map(|change| {
            let mut world = OwnedInputs::of(Some(body.clone()));
            change(&mut world);
            world
        })
        .into()
}

#[test]
fn the_chains_of_a_scope_accept_nothing_but_by_its_exit_whatever_the_node_lacks() {
    for (body, device) in [
        (client(), "pst-c-eu"),
        (gateway(&[]), "eth0"),
        (external(), "pst-x-eu"),
        (allowed(client()), "pst-c-eu"),
        (allowed(gateway(&[])), "eth0"),
    ] {
        for world in worlds(&body) {
            let desired = Desired::from_inputs(&world.inputs());
            assert!(accepts_only_by(&desired, device), "{:?}", world.facts);
        }
    }
    let desired = Desired::from_inputs(&OwnedInputs::of(Some(client())).inputs());
    assert!(
        !accepts_only_by(&desired, "eth0"),
        "the question tells devices apart"
    );
}

#[test]
fn the_chains_of_a_blocked_scope_and_of_one_without_a_device_accept_nothing() {
    let mut blocked = client();
    blocked.firewall[0].way = EgressPath::Blocked {
        reason: BlockedReason::NoExit,
    };
    let mut homeless = client();
    homeless.routes.clear();
    let bodies = [blocked, homeless].map(|body| [body.clone(), allowed(body)]);
    for body in bodies.into_iter().flatten() {
        for world in worlds(&body) {
            let desired = Desired::from_inputs(&world.inputs());
            for name in reachable(&desired) {
                let rules = &desired.ruleset.inet.chains[&name].rules;
                let accepts = rules.iter().any(|rule| rule.target == Target::Accept);
                assert!(!accepts, "{name} {:?}", world.facts);
            }
        }
    }
}

#[test]
fn a_scope_that_has_failed_open_accepts_by_the_uplink_and_by_nothing_else() {
    let mut world = OwnedInputs::of(Some(client()));
    world.facts.failed_open = [scope_id()].into();
    let desired = Desired::from_inputs(&world.inputs());
    assert!(accepts_only_by(&desired, "eth0"));
    assert!(!accepts_only_by(&desired, "pst-c-eu"));
}

#[test]
fn a_scope_without_an_exit_accepts_by_the_uplink_and_by_nothing_else_while_there_is_one() {
    let mut body = client();
    body.firewall[0].way = EgressPath::NodeUplink;
    let mut world = OwnedInputs::of(Some(body));
    let desired = Desired::from_inputs(&world.inputs());
    assert!(accepts_only_by(&desired, "eth0"));
    assert!(!accepts_only_by(&desired, "pst-c-eu"));
    world.facts.uplinks.clear();
    let desired = Desired::from_inputs(&world.inputs());
    assert!(accepts_only_by(&desired, "nothing"));
}
