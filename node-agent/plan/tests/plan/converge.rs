//! From what is there to what should be there: what is planned, and what is not planned any more once it is done.

use postern_intent::body::{Access, BlockedReason, Body, Class, EgressPath, TermsEstablishedFlows};
use postern_intent::{Address, WgKey};
use postern_plan::desired::{NodeClaim, names};
use postern_plan::diff::firewall::{change, change_arp};
use postern_plan::diff::flow;
use postern_plan::diff::learned::Learned;
use postern_plan::diff::table_state::FirewallState;
use postern_plan::evaluate::{CtState, Evaluator, Fate, Frame, Packet, Payload, Transport};
use postern_plan::flow::{CutExtent, Cuts, FlowCut, FlowEntry};
use postern_plan::host::MacAddress;
use postern_plan::order::{ArpTables, PlanContext, Stage, TableChange, plan};
use postern_plan::ruleset::{Edit, Hook, KeyType, NftCommand, Set, TableFamily, Transaction};
use postern_plan::{Desired, Observed, Step};

use crate::fixture::{OwnedInputs, client, gateway, pod, scope_id, word};

fn key() -> WgKey {
    WgKey::from_bytes([5; 32]).unwrap()
}

fn desired(world: &OwnedInputs) -> Desired {
    Desired::from_inputs(&world.inputs())
}

fn stages(desired: &Desired, observed: &Observed) -> Vec<(Stage, Vec<Step>)> {
    let planning = PlanContext {
        tables: TableChange::Edited,
        arp: ArpTables::Supported,
        learned: &Learned::default(),
        own_key: &key(),
    };
    plan(desired, observed, &planning).stages
}

/// The addresses that the batch releases.
fn released(batch: &Transaction) -> Vec<String> {
    let elements = batch.edits().iter().flat_map(Edit::releases);
    elements.map(|element| element.key[0].to_string()).collect()
}

fn is_replacement(batch: &Transaction) -> bool {
    let mut edits = batch.edits().iter();
    edits.any(|edit| edit.command == NftCommand::DeleteTable)
}

#[test]
fn the_guard_comes_first_and_stages_follow_in_their_order() {
    let desired = desired(&OwnedInputs::of(Some(client())));
    let order: Vec<Stage> = stages(&desired, &Observed::default())
        .into_iter()
        .map(|(stage, _)| stage)
        .collect();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(order, sorted);
    assert_eq!(order.first(), Some(&Stage::Guard));
}

#[test]
fn without_a_table_the_first_batch_has_the_releases_because_nobody_is_held_before_it() {
    let desired = desired(&OwnedInputs::of(Some(client())));
    let change = change(&FirewallState::default(), &desired.ruleset);
    assert!(released(&change.guard).contains(&"10.244.1.3".to_owned()));
    assert!(change.release.is_empty());
}

#[test]
fn a_table_that_is_replaced_keeps_the_releases_that_were_in_force_and_gets_the_others_last() {
    let before = desired(&OwnedInputs::of(Some(client())));
    let mut moved = before.ruleset;
    for chain in moved.inet.chains.values_mut() {
        if let Some(base) = &mut chain.base {
            base.priority -= 1;
        }
    }
    let mut body = client();
    body.pods.push(pod("c", Class::Released, &["10.244.1.4"]));
    let after = desired(&OwnedInputs::of(Some(body)));
    let change = change(&FirewallState::from(&moved), &after.ruleset);
    assert!(is_replacement(&change.guard));
    let [kept, new] = ["10.244.1.3", "10.244.1.4"].map(str::to_owned);
    let (guard, release) = (released(&change.guard), released(&change.release));
    assert!(guard.contains(&kept) && !guard.contains(&new));
    assert!(release.contains(&new) && !release.contains(&kept));
}

#[test]
fn a_set_of_another_type_is_made_anew_with_its_table() {
    let wanted = desired(&OwnedInputs::of(Some(client()))).ruleset;
    let mut older = wanted.clone();
    let set = older.inet.sets.get_mut("podlinks").unwrap();
    *set = Set::of([KeyType::IfName]).with(set.elements.clone());
    let change = change(&FirewallState::from(&older), &wanted);
    assert!(is_replacement(&change.guard), "{}", change.guard);
}

#[test]
fn the_first_intent_of_a_node_releases_at_once_whom_nobody_held_and_bound_pods_last() {
    let mut before = OwnedInputs::of(None);
    before.facts.claim = NodeClaim::Unclaimed;
    let before = FirewallState::from(&desired(&before).ruleset);
    let mut body = client();
    body.pods[0] = pod("a", Class::Released, &["10.244.1.2"]);
    let after = desired(&OwnedInputs::of(Some(body)));
    let made = change(&before, &after.ruleset);
    let [bound, unbound] = ["10.244.1.2", "10.244.1.3"].map(str::to_owned);
    let (guard, release) = (released(&made.guard), released(&made.release));
    assert!(guard.contains(&unbound) && !release.contains(&unbound));
    assert!(!guard.contains(&bound) && release.contains(&bound));

    // Where an intent was in force before, whoever is not classified is held.
    let mut held = client();
    held.pods.clear();
    let before = FirewallState::from(&desired(&OwnedInputs::of(Some(held))).ruleset);
    let made = change(&before, &after.ruleset);
    assert!(!released(&made.guard).contains(&unbound));
}

#[test]
fn flows_of_an_exit_that_leaves_with_another_source_are_cut_and_nobody_elses() {
    let with = |egress: &[&str]| {
        let body = gateway(egress);
        (desired(&OwnedInputs::of(Some(body.clone()))), body)
    };
    let (masquerading, _) = with(&[]);
    let (translating, body) = with(&["192.0.2.77", "2001:db8::77"]);
    let cuts = flow::cuts(&masquerading, &translating, Some(&body));
    let of_clients = ["198.18.0.11", "fd64::11"];
    let of_local_pods = ["10.244.1.2", "fd00:10:244:1::2"];
    let users = of_clients.into_iter().chain(of_local_pods);
    let expected: Cuts = users
        .map(|address| (word(address), CutExtent::Outgoing))
        .collect();
    assert_eq!(cuts, expected);
    assert_eq!(
        flow::cuts(&translating, &translating, Some(&body)),
        Cuts::new()
    );
    // A client that comes owes no cut, nor does an exit that this node did not serve before.
    let mut more = body;
    more.tunnels[0].peers[0]
        .allowed_ips
        .push(word("198.18.0.12/32"));
    let wider = desired(&OwnedInputs::of(Some(more.clone())));
    assert_eq!(flow::cuts(&translating, &wider, Some(&more)), Cuts::new());
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let desired = desired(&OwnedInputs::of(Some(client())));
    let change = change(&FirewallState::from(&desired.ruleset), &desired.ruleset);
    assert!(change.guard.is_empty(), "{}", change.guard);
    assert!(change.release.is_empty(), "{}", change.release);
}

#[test]
fn one_new_pod_is_a_handful_of_elements_and_no_chain() {
    let before = desired(&OwnedInputs::of(Some(client())));
    let mut body = client();
    body.pods.push(pod(
        "c",
        Class::Policy { scope: scope_id() },
        &["10.244.1.4"],
    ));
    let after = desired(&OwnedInputs::of(Some(body)));
    let change = change(&FirewallState::from(&before.ruleset), &after.ruleset);
    assert!(change.release.is_empty());
    let edits = change.guard.edits();
    let is_addition = |edit: &Edit| matches!(&edit.command, NftCommand::AddElements { elements, .. } if elements.len() == 1);
    assert!(edits.iter().all(is_addition), "{edits:#?}");
    assert_eq!(edits.len(), 4, "{edits:#?}");
}

#[test]
fn a_pod_that_moves_from_released_to_a_policy_is_taken_out_and_put_in_by_one_batch() {
    let before = desired(&OwnedInputs::of(Some(client())));
    let mut body = client();
    body.pods[1].class = Class::Policy { scope: scope_id() };
    let after = desired(&OwnedInputs::of(Some(body)));
    let change = change(&FirewallState::from(&before.ruleset), &after.ruleset);
    let text = change.guard.to_string();
    let gone = text.find("delete element inet postern from4 { 10.244.1.3 }");
    let come = text.find("add element inet postern from4 { 10.244.1.3 : goto pol_");
    assert!(gone.is_some() && come.is_some() && gone < come, "{text}");
}

#[test]
fn flows_are_cut_of_every_pod_whose_class_changed_and_of_nobody_else() {
    let before = desired(&OwnedInputs::of(Some(client())));
    let mut body = client();
    body.pods[1].class = Class::Blocked {
        reason: BlockedReason::NoExit,
    };
    let after = desired(&OwnedInputs::of(Some(body.clone())));
    let outgoing = |address: &str| (word(address), CutExtent::Outgoing);
    let expected: Cuts = ["10.244.1.3", "fd00:10:244:1::3"].map(outgoing).into();
    assert_eq!(flow::cuts(&before, &after, Some(&body)), expected);
}

/// The client with this change, whose policy lets connections finish.
fn keeping(change: fn(&mut Body)) -> (Desired, Body) {
    let mut body = client();
    body.firewall[0].terms.established_flows = TermsEstablishedFlows::Keep;
    change(&mut body);
    (desired(&OwnedInputs::of(Some(body.clone()))), body)
}

#[test]
fn a_stricter_policy_that_keeps_connections_cuts_none_and_another_way_out_cuts_them() {
    let stricter: fn(&mut Body) = |body| body.firewall[0].terms.default_action = Access::Deny;
    let cutting = desired(&OwnedInputs::of(Some(client())));
    let (before, unchanged) = keeping(|_| {});
    assert_eq!(flow::cuts(&cutting, &before, Some(&unchanged)), Cuts::new());
    let (after, body) = keeping(stricter);
    assert_eq!(flow::cuts(&before, &after, Some(&body)), Cuts::new());
    let outgoing = |address: &str| (word(address), CutExtent::Outgoing);
    let all: Cuts = ["10.244.1.2", "fd00:10:244:1::2"].map(outgoing).into();
    let (other, body) = keeping(|body| body.firewall[0].way = EgressPath::NodeUplink);
    assert_eq!(flow::cuts(&before, &other, Some(&body)), all);
    let mut body = client();
    stricter(&mut body);
    let cut = desired(&OwnedInputs::of(Some(body.clone())));
    assert_eq!(flow::cuts(&before, &cut, Some(&body)), all);
}

#[test]
fn an_address_whose_old_flows_are_not_cut_yet_keeps_no_connection() {
    let (_, body) = keeping(|_| {});
    let mut world = OwnedInputs::of(Some(body));
    let keeps = |world: &OwnedInputs, address: &str| {
        let desired = desired(world);
        let mut evaluator = Evaluator::new(&desired.ruleset);
        evaluator.kept = [names::flows_set(&scope_id())].into();
        let transport = Transport::Udp {
            sport: 4000,
            dport: 25,
        };
        let to = match word::<Address>(address) {
            Address::V4(_) => "169.254.169.254",
            Address::V6(_) => "fe80::9",
        };
        let mut packet = Packet::new(word(address), word(to), transport);
        packet.conntrack.state = CtState::Established;
        (packet.iif, packet.oif) = ("cni0".to_owned(), "pst-c-eu".to_owned());
        evaluator.hook(Hook::Forward, &mut packet).fate == Fate::Passes
    };
    let both = ["10.244.1.2", "fd00:10:244:1::2"];
    assert_eq!(both.map(|address| keeps(&world, address)), [true; 2]);
    world.facts.uncut = both.map(word).into();
    assert_eq!(both.map(|address| keeps(&world, address)), [false; 2]);
}

#[test]
fn a_guarded_pod_that_comes_or_goes_owes_a_cut_of_both_ways_and_a_released_one_none() {
    let nobody = desired(&OwnedInputs::of(Some({
        let mut body = client();
        body.pods.clear();
        body
    })));
    let body = client();
    let everybody = desired(&OwnedInputs::of(Some(body.clone())));
    let both_ways = |address: &str| (word(address), CutExtent::BothWays);
    let expected: Cuts = ["10.244.1.2", "fd00:10:244:1::2"].map(both_ways).into();
    assert_eq!(flow::cuts(&nobody, &everybody, Some(&body)), expected);
    assert_eq!(flow::cuts(&everybody, &nobody, Some(&body)), expected);
}

/// `10.244.1.2` is selected, and its questions are redirected; the cluster's resolver is a Service.
#[test]
fn a_question_is_cut_where_it_goes_another_way_than_the_class_says() {
    let desired = desired(&OwnedInputs::of(Some(client())));
    let cut = FlowCut {
        addresses: [
            (word("10.244.1.2"), CutExtent::Outgoing),
            (word("10.244.1.3"), CutExtent::Outgoing),
        ]
        .into(),
        inside: desired.inside,
        ..FlowCut::default()
    };
    let question = |client: &str, server: &str| {
        let client = std::net::SocketAddr::new(word(client), 4000);
        let asked = std::net::SocketAddr::new(word("10.244.2.9"), 53);
        FlowEntry {
            protocol: 17,
            original: (client, asked),
            reply: (server.parse().unwrap(), client),
        }
    };
    let (forwarder, other) = ("10.244.1.1:5300", "10.244.2.9:53");
    assert!(cut.takes(&question("10.244.1.2", other)));
    assert!(!cut.takes(&question("10.244.1.2", forwarder)));
    assert!(cut.takes(&question("10.244.1.3", forwarder)));
    assert!(!cut.takes(&question("10.244.1.3", other)));
}

#[test]
fn a_blocked_pod_gets_no_mark_so_that_the_lock_holds_it_too() {
    let mut body = client();
    body.pods[1].class = Class::Blocked {
        reason: BlockedReason::NoExit,
    };
    let ruleset = desired(&OwnedInputs::of(Some(body))).ruleset;
    let steered = |address: &str| {
        ruleset.inet.sets["steer4"]
            .elements
            .iter()
            .any(|element| element.to_string().starts_with(address))
    };
    assert!(steered("10.244.1.2"));
    assert!(!steered("10.244.1.3"));
}

#[test]
fn an_unreachable_default_stands_below_every_tunnel_route_and_comes_before_it() {
    let desired = desired(&OwnedInputs::of(Some(client())));
    let routes: Vec<String> = stages(&desired, &Observed::default())
        .into_iter()
        .filter(|(stage, _)| *stage == Stage::Route)
        .flat_map(|(_, steps)| steps)
        .filter(|step| matches!(step, Step::AddRoute(_)))
        .map(|step| step.to_string())
        .collect();
    assert_eq!(routes.len(), 4);
    assert!(
        routes[..2].iter().all(|line| line.contains("unreachable")),
        "{routes:#?}"
    );
    assert!(
        routes[2..].iter().all(|line| line.contains("pst-c-eu")),
        "{routes:#?}"
    );
}

#[test]
fn ports_of_other_nodes_are_refused_by_the_settings_before_the_first_body_and_own_ones_never() {
    for body in [None, Some(client())] {
        let known = body.is_some();
        let ruleset = desired(&OwnedInputs::of(body)).ruleset;
        let holds = |set: &str, text: &str| {
            let elements = &ruleset.inet.sets[set].elements;
            elements.iter().any(|element| element.to_string() == text)
        };
        assert!(holds("inbound4", "192.168.10.11"), "{known}");
        let others = if known {
            "192.168.10.21"
        } else {
            "192.168.10.0/24"
        };
        assert!(holds("nodes4", others), "{known}");
        let rules = &ruleset.inet.chains["inside"].rules;
        let refused = "ip daddr @nodes4 th dport { 30000-32767 } ip daddr != @inbound4 ";
        let texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
        assert!(texts[0].starts_with(refused), "{texts:#?}");
    }
}

#[test]
fn a_gateway_holds_the_tunnel_ranges_with_the_lock_and_a_client_does_not() {
    let held = |body| {
        desired(&OwnedInputs::of(Some(body)))
            .locks
            .iter()
            .any(|policy| policy.source.to_string() == "198.18.0.0/15")
    };
    assert!(held(gateway(&[])));
    assert!(!held(client()));
}

#[test]
fn an_exit_with_an_address_of_one_family_refuses_the_other_family() {
    let text = desired(&OwnedInputs::of(Some(gateway(&["203.0.113.10"]))))
        .ruleset
        .to_string();
    assert!(
        text.lines()
            .any(|line| line.contains("rule inet postern offered_eu_")
                && line.contains("meta nfproto ipv6 goto refuse"))
    );
}

#[test]
fn an_arp_table_that_differs_is_a_batch_of_its_own_and_touches_no_table_of_the_guard() {
    let wanted = desired(&OwnedInputs::of(Some(client()))).ruleset;
    let there = FirewallState::from(&wanted);
    assert!(change_arp(&there, &wanted).is_empty());
    let mut other = wanted.clone();
    other.arp.sets.clear();
    assert!(
        change(&FirewallState::from(&other), &wanted)
            .guard
            .is_empty()
    );
    let written = change_arp(&FirewallState::from(&other), &wanted);
    let mut families = written.edits().iter().map(|edit| edit.family);
    assert!(families.all(|family| family == TableFamily::Arp));
}

#[test]
fn a_question_on_a_link_for_a_tunnel_address_is_dropped_and_no_other_arp_is() {
    let ruleset = desired(&OwnedInputs::of(Some(client()))).ruleset;
    for (operation, target, fate) in [
        ("request", "198.18.0.11", Fate::Dropped),
        ("reply", "198.18.0.11", Fate::Passes),
        ("request", "192.168.10.11", Fate::Passes),
        ("request", "198.18.0.12", Fate::Passes),
    ] {
        let mac = MacAddress([2, 0, 0, 0, 0, 7]);
        let mut arp = Frame {
            port: "eth0".to_owned(),
            source: mac,
            ethertype: 0x0806,
            payload: Payload::Arp {
                operation,
                mac,
                address: word("192.168.10.40"),
                target: word(target),
            },
        };
        assert_eq!(
            Evaluator::new(&ruleset).arp(&mut arp).fate,
            fate,
            "{operation} {target}"
        );
    }
}
