//! What is done where the node's own pod ranges are not known, or are not those that its pods have addresses from.

use postern_intent::Address;
use postern_intent::body::Class;
use postern_plan::Desired;
use postern_plan::binding::Bindings;
use postern_plan::desired::{LocalRanges, NodeClaim};
use postern_plan::evaluate::{Evaluator, Packet, Transport};
use postern_plan::host::Family;
use postern_plan::ruleset::FirewallRule;

use crate::fixture::{self, OwnedInputs, client, pod, scope_id, settings, word};

/// A node whose agent was given no ranges, as `deploy/base` starts it.
fn without_settings(mut world: OwnedInputs) -> OwnedInputs {
    world.settings.pod_ranges.clear();
    world.settings.local_pod_ranges.clear();
    world.settings.service_ranges.clear();
    world.settings.node_ranges.clear();
    world
}

/// A body whose Node has no `spec.podCIDRs`.
fn without_pod_cidrs() -> OwnedInputs {
    let mut body = client();
    body.local_pod_ranges.clear();
    without_settings(OwnedInputs::of(Some(body)))
}

fn rules(desired: &Desired, chain: &str) -> Vec<String> {
    let rules = &desired.ruleset.inet.chains[chain].rules;
    rules.iter().map(FirewallRule::to_string).collect()
}

fn elements(desired: &Desired, set: &str) -> Vec<String> {
    let elements = &desired.ruleset.inet.sets[set].elements;
    elements.iter().map(ToString::to_string).collect()
}

/// The rules of `from_pod` that drop a source because it is in none of the node's own ranges.
fn refused_by_range(desired: &Desired) -> Vec<String> {
    let mut rules = rules(desired, "from_pod");
    rules.retain(|rule| rule.contains("@local"));
    rules
}

#[test]
fn a_source_is_refused_by_range_where_pods_of_the_node_prove_the_range() {
    let desired = Desired::from_inputs(&OwnedInputs::of(Some(client())).inputs());
    assert_eq!(refused_by_range(&desired).len(), 2, "both families");
    assert_eq!(elements(&desired, "local4"), ["10.244.1.0/24"]);
}

#[test]
fn no_source_is_refused_by_range_where_the_node_has_no_pod_cidrs() {
    let desired = Desired::from_inputs(&without_pod_cidrs().inputs());
    assert_eq!(refused_by_range(&desired), [""; 0]);
    assert_eq!(desired.local_ranges[&Family::V4], LocalRanges::Unknown);
    // The lock and the last look know the addresses themselves.
    assert_eq!(elements(&desired, "local4"), ["10.244.1.2", "10.244.1.3"]);
    assert!(
        desired
            .locks
            .iter()
            .any(|lock| lock.source == word("10.244.1.2/32"))
    );
}

#[test]
fn no_source_is_refused_by_range_before_a_pod_proves_what_the_node_object_says() {
    let mut body = client();
    body.pods.clear();
    let mut world = without_settings(OwnedInputs::of(Some(body)));
    world.bindings = Bindings::default();
    let desired = Desired::from_inputs(&world.inputs());
    assert_eq!(refused_by_range(&desired), [""; 0]);
    assert_eq!(desired.local_ranges[&Family::V4], LocalRanges::Unproven);
}

#[test]
fn a_pod_outside_of_the_ranges_ends_the_refusal_by_range_in_its_family() {
    let mut body = client();
    body.pods.push(pod("c", Class::Released, &["10.99.0.9"]));
    let desired = Desired::from_inputs(&OwnedInputs::of(Some(body)).inputs());
    let found = desired.local_ranges[&Family::V4];
    assert_eq!(
        found,
        LocalRanges::Contradicted(word::<Address>("10.99.0.9"))
    );
    let refused = refused_by_range(&desired);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("@local6"), "{refused:?}");
    // The range may be another node's: it is no reason to drop what arrives from there.
    let local = elements(&desired, "local4");
    assert_eq!(local, ["10.99.0.9", "10.244.1.2", "10.244.1.3"]);
}

#[test]
fn a_setting_needs_no_proof() {
    let mut world = OwnedInputs::of(None);
    world.bindings = Bindings::default();
    world.settings = settings();
    let desired = Desired::from_inputs(&world.inputs());
    assert_eq!(refused_by_range(&desired).len(), 2);
}

#[test]
fn a_node_that_lost_its_ledger_holds_everybody_and_lets_private_ranges_stand_for_the_cluster() {
    let desired = Desired::from_inputs(&without_settings(OwnedInputs::of(None)).inputs());
    let guard = rules(&desired, "guard");
    let last = guard.last().unwrap();
    assert!(
        last.contains("@podlinks") && !last.contains("saddr"),
        "{last}"
    );
    assert!(elements(&desired, "inside4").contains(&"10.0.0.0/8".to_owned()));
    assert_eq!(refused_by_range(&desired), [""; 0]);
    // A NodePort of another node stays refused, wherever in these ranges the node is.
    assert!(elements(&desired, "nodes4").contains(&"10.0.0.0/8".to_owned()));
}

#[test]
fn with_a_body_no_range_stands_for_another_one() {
    let mut world = without_pod_cidrs();
    if let Some(body) = &mut world.body {
        body.cluster.pod_ranges.clear();
    }
    let desired = Desired::from_inputs(&world.inputs());
    assert!(!elements(&desired, "inside4").contains(&"10.0.0.0/8".to_owned()));
}

#[test]
fn a_node_on_which_no_intent_was_ever_in_force_holds_bound_pods_only() {
    let mut world = without_settings(OwnedInputs::of(None));
    world.facts.claim = NodeClaim::Unclaimed;
    let desired = Desired::from_inputs(&world.inputs());
    let guard = rules(&desired, "guard");
    let held: Vec<&String> = guard
        .iter()
        .filter(|rule| rule.contains("unclassified"))
        .collect();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|rule| rule.contains("@local")), "{held:?}");
    assert_eq!(
        elements(&desired, "local4"),
        ["10.244.1.2"],
        "the bound pod"
    );
    assert!(
        desired
            .locks
            .iter()
            .all(|lock| lock.source == word("10.244.1.2/32")
                || lock.source == word("fd00:10:244:1::2/128"))
    );
}

#[test]
fn a_body_ends_the_time_without_a_claim() {
    let mut world = OwnedInputs::of(Some(client()));
    world.facts.claim = NodeClaim::Unclaimed;
    let claimed = Desired::from_inputs(&OwnedInputs::of(Some(client())).inputs());
    assert_eq!(
        Desired::from_inputs(&world.inputs()).ruleset,
        claimed.ruleset
    );
}

#[test]
fn a_routed_pod_link_sends_with_its_own_pods_source_only() {
    let mut world = OwnedInputs::of(Some(client()));
    world.bindings.add(fixture::routed());
    world.body.as_mut().unwrap().pods.push(pod(
        "r",
        Class::Policy { scope: scope_id() },
        &["10.244.1.7", "fd00:10:244:1::7"],
    ));
    let mut desired = Desired::from_inputs(&world.inputs());
    assert_eq!(
        elements(&desired, "routed_links"),
        ["\"cali7\""],
        "no bridge"
    );
    assert_eq!(elements(&desired, "routed4"), ["\"cali7\" . 10.244.1.7"]);
    let rules = rules(&desired, "from_pod");
    let own = rules.iter().filter(|rule| rule.contains("@routed_links"));
    assert_eq!(own.count(), 2);
    for (source, to) in [
        ("10.244.1.7", "203.0.113.7"),
        ("fd00:10:244:1::7", "2001:db8:ffff::7"),
    ] {
        assert!(leaves(&desired, "pst-c-eu", source, to), "{source}");
    }
    // The released neighbour may leave by the uplink, and is behind another link.
    let neighbours = [
        ("10.244.1.3", "203.0.113.7"),
        ("fd00:10:244:1::3", "2001:db8:ffff::7"),
    ];
    for (source, to) in neighbours {
        assert!(!leaves(&desired, "eth0", source, to), "{source}");
    }
    let from_pod = desired.ruleset.inet.chains.get_mut("from_pod").unwrap();
    from_pod.rules.clear();
    for (source, to) in neighbours {
        let open = leaves(&desired, "eth0", source, to);
        assert!(open, "{source} without the rules of the links");
    }
}

/// Does a packet that comes by `cali7` and that routing sends to this device leave?
fn leaves(desired: &Desired, device: &str, source: &str, to: &str) -> bool {
    let transport = Transport::Udp {
        sport: 4000,
        dport: 7,
    };
    let mut packet = Packet::new(word(source), word(to), transport);
    packet.iif = "cali7".to_owned();
    packet.oif = device.to_owned();
    let mut evaluator = Evaluator::new(&desired.ruleset);
    for own in ["198.18.0.11", "fd64::11"] {
        let own: Address = word(own);
        let key = ("pst-c-eu".to_owned(), Family::of(&own));
        evaluator.addresses.insert(key, own);
    }
    evaluator.forwarded(&packet).left()
}
