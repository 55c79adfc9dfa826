//! Egress IPs are on one gateway at a time: the next one gets them when the former one has given them up, or cannot have them
//! any more.

use jiff::SignedDuration;
use postern_compile::Compilation;
use postern_compile::snapshot::{NodeScheduling, PathFault, SnapshotNode};
use postern_crds::conditions::Finding;
use postern_crds::node_report::{AddressFamily, PathHop};
use postern_intent::body::{EGRESS_FENCE, EGRESS_FENCE_MARGIN, EgressTerm};
use postern_intent::{NodeName, Serial};
use serde_json::json;

use super::world::World;

fn node(name: &str, number: u8) -> SnapshotNode {
    let label = name
        .starts_with("gw")
        .then(|| ("exit".to_owned(), "eu".to_owned()));
    SnapshotNode {
        name: name.parse().expect("a name"),
        uid: format!("uid-{name}").parse().expect("a UID"),
        labels: label.into_iter().collect(),
        scheduling: NodeScheduling::Schedulable,
        addresses: vec![format!("192.0.2.{number}").parse().expect("an address")],
        pod_ranges: vec![format!("10.244.{number}.0/24").parse().expect("a prefix")],
    }
}

/// These gateways, one client, and an exit with an egress IP of each family.
fn world(gateways: &[&str]) -> World {
    let mut world = World::new();
    for (number, name) in (1..).zip(gateways) {
        world.add_node(node(name, number));
    }
    world.add_node(node("n1", 11));
    let exit = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode", "metadata": {"name": "eu"},
        "spec": {"gateway": {
            "nodeSelector": {"matchLabels": {"exit": "eu"}},
            "egressIPs": ["192.0.2.200", "2001:db8::c8"],
        }},
    });
    world.apply_exit(serde_json::from_value(exit).expect("an exit"));
    let policy = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"namespace": "crawlers", "name": "crawler"},
        "spec": {"podSelector": {}, "route": {"type": "Exit", "exitNodes": [{"name": "eu"}]}, "defaultAction": "Allow"},
    });
    world.apply_policy(serde_json::from_value(policy).expect("a policy"));
    world.add_pod("crawlers", "pod-n1", "n1", 1);
    world.compile();
    // The documents are reported as applied.
    world.compile();
    world
}

/// For how long a gateway has the egress IPs; none: it serves no such exit.
fn term(world: &World, node: &str) -> Option<EgressTerm> {
    let name: NodeName = node.parse().expect("a name");
    let served = world.previous.get(&name)?.nat.first();
    served.map(|served| served.egress_term)
}

fn condition<'a>(compilation: &'a Compilation, exit: &str, kind: &str) -> &'a Finding {
    let mut verdicts = compilation.verdicts.iter();
    let exit = verdicts.find(|one| one.kind == "ExitNode" && one.name == exit);
    let conditions = &exit.expect("an exit").conditions;
    let found = conditions.iter().find(|one| one.kind.as_str() == kind);
    found.expect("a condition")
}

fn ready(compilation: &Compilation) -> String {
    let found = condition(compilation, "eu", "Ready");
    format!("{} {}", found.state.as_str(), found.reason)
}

fn cordon(world: &mut World, node: &str) {
    let node = world.nodes.get_mut(node).expect("a node");
    node.scheduling = NodeScheduling::Cordoned;
}

/// The agent of a node is away from now on; its last reading counts as fresh for three minutes.
fn leave(world: &mut World, node: &str) {
    world.away.insert(node.to_owned(), world.now);
}

const FENCED: SignedDuration =
    SignedDuration::from_secs(EGRESS_FENCE.as_secs() + EGRESS_FENCE_MARGIN.as_secs());

#[test]
fn a_lone_gateway_has_the_egress_ips_with_its_intent_and_one_of_two_while_the_api_server_confirms_it()
 {
    let mut world = world(&["gw-1"]);
    assert_eq!(term(&world, "gw-1"), Some(EgressTerm::Intent));
    world.add_node(node("gw-2", 2));
    world.compile();
    assert_eq!(term(&world, "gw-1"), Some(EgressTerm::Confirmed));
    assert_eq!(term(&world, "gw-2"), None);
}

#[test]
fn a_gateway_that_answers_hands_the_egress_ips_over_as_soon_as_it_has_given_them_up() {
    let mut world = world(&["gw-1", "gw-2"]);
    cordon(&mut world, "gw-1");
    let compilation = world.compile();
    // The next gateway is prepared and waits.
    assert_eq!(term(&world, "gw-1"), None);
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    assert_eq!(ready(&compilation), "False HolderHeld");
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Confirmed));
    // The former one is no better than the one that has them now.
    world.nodes.insert("gw-1".to_owned(), node("gw-1", 1));
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Confirmed));
}

#[test]
fn a_gateway_that_is_cut_off_is_waited_for_as_long_as_a_confirmation_counts() {
    let mut world = world(&["gw-1", "gw-2"]);
    leave(&mut world, "gw-1");
    cordon(&mut world, "gw-1");
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    // From the next compile on it is known that the document without them was published.
    world.now += SignedDuration::from_secs(1);
    let wake = world.compile().wake.expect("a time");
    assert_eq!(wake, world.now + FENCED);
    world.now = wake - SignedDuration::from_millis(1);
    assert_eq!(world.compile().wake, Some(wake));
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    world.now = wake;
    let settled = world.compile().wake.expect("a time");
    assert_eq!(settled, world.now + SignedDuration::from_secs(15));
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Confirmed));
}

#[test]
fn a_gateway_that_never_applied_a_document_with_a_fence_is_waited_for_until_its_last_one_runs_out()
{
    let mut world = world(&["gw-1"]);
    let until = world.previous[&"gw-1".parse().expect("a name")].not_after;
    leave(&mut world, "gw-1");
    world.add_node(node("gw-2", 2));
    world.compile();
    cordon(&mut world, "gw-1");
    world.compile();
    world.now += FENCED * 4;
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    // The document with the fence was published a moment later and lasts a little longer.
    world.now = until + SignedDuration::from_secs(60);
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Confirmed));
}

#[test]
fn a_document_that_cannot_be_read_may_still_have_the_egress_ips() {
    let mut world = world(&["gw-1", "gw-2"]);
    leave(&mut world, "gw-1");
    let name: NodeName = "gw-1".parse().expect("a name");
    world.previous.remove(&name);
    world.unreadable.insert(name);
    cordon(&mut world, "gw-1");
    world.compile();
    world.now += FENCED * 4;
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
}

#[test]
fn a_machine_whose_node_is_gone_loses_its_intent_and_with_it_the_egress_ips() {
    let mut world = world(&["gw-1", "gw-2"]);
    world.nodes.remove("gw-1");
    let gone = world.compile();
    let name: NodeName = "gw-1".parse().expect("a name");
    assert!(gone.retired.contains(&name));
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    // It is deleted.
    world.previous.remove(&name);
    let wake = world.compile().wake.expect("a time");
    assert_eq!(wake, world.now + FENCED);
    world.now = wake;
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Intent));
}

#[test]
fn a_gateway_whose_clients_are_cut_off_is_left_once_it_had_time_to_settle() {
    let mut world = world(&["gw-1", "gw-2"]);
    let fault = || PathFault {
        hop: PathHop::Tunnel,
        message: "the gateway does not answer".to_owned(),
    };
    let v4 = (AddressFamily::IPv4, fault());
    world.faults.insert("n1".to_owned(), [v4.clone()].into());
    world.now += SignedDuration::from_secs(60);
    world.compile();
    assert_eq!(
        term(&world, "gw-1"),
        Some(EgressTerm::Confirmed),
        "one family works"
    );
    let v6 = (AddressFamily::IPv6, fault());
    world.faults.insert("n1".to_owned(), [v4, v6].into());
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Confirmed));
    // The clients find nothing better there, but a moment is too short to know.
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Confirmed));
    world.now += SignedDuration::from_secs(16);
    world.compile();
    assert_eq!(term(&world, "gw-1"), Some(EgressTerm::Awaited));
}

#[test]
fn a_memory_that_is_lost_gives_nobody_else_the_egress_ips_that_a_document_has() {
    let mut world = world(&["gw-1", "gw-2"]);
    world.memory = Default::default();
    leave(&mut world, "gw-1");
    cordon(&mut world, "gw-1");
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    let serial = world.previous[&"gw-1".parse().expect("a name")].serial;
    assert!(serial > Serial(0));
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
}

/// Another exit with this egress IP, by the gateways of another label.
fn another(world: &mut World, address: &str) {
    let exit = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "ExitNode", "metadata": {"name": "us"},
        "spec": {"gateway": {"nodeSelector": {"matchLabels": {"exit": "us"}}, "egressIPs": [address]}},
    });
    world.apply_exit(serde_json::from_value(exit).expect("an exit"));
}

#[test]
fn an_egress_ip_that_moves_to_another_exit_waits_for_the_gateway_of_the_former_one() {
    let mut world = world(&["gw-1", "gw-2"]);
    let mut other = node("us-1", 5);
    other.labels.insert("exit".to_owned(), "us".to_owned());
    world.add_node(other);
    leave(&mut world, "gw-1");
    let mut exit = world.exits["eu"].clone();
    exit.spec.gateway.as_mut().expect("a gateway").egress_ips = vec!["192.0.2.201".to_owned()];
    world.apply_exit(exit);
    another(&mut world, "192.0.2.200");
    world.compile();
    assert_eq!(term(&world, "us-1"), Some(EgressTerm::Awaited));
    world.compile();
    assert_eq!(term(&world, "us-1"), Some(EgressTerm::Awaited));
    // It has applied the document without the address.
    world.away.clear();
    let applied = world.previous[&"gw-1".parse().expect("a name")].serial;
    world.ledgers.insert("gw-1".to_owned(), applied);
    world.compile();
    assert_eq!(term(&world, "us-1"), Some(EgressTerm::Intent));
}

#[test]
fn a_machine_that_comes_again_under_its_name_waits_for_the_one_of_before() {
    let mut world = world(&["gw-1", "gw-2"]);
    world.nodes.remove("gw-2");
    world.compile();
    let mut again = node("gw-1", 1);
    again.uid = "uid-another".parse().expect("a UID");
    world.nodes.insert("gw-1".to_owned(), again);
    let compilation = world.compile();
    assert_eq!(ready(&compilation), "False HolderHeld");
}

#[test]
fn a_fenced_document_that_a_lost_memory_does_not_know_of_counts_only_once_it_is_applied() {
    let mut world = world(&["gw-1"]);
    leave(&mut world, "gw-1");
    world.add_node(node("gw-2", 2));
    world.compile();
    world.memory = Default::default();
    cordon(&mut world, "gw-1");
    world.compile();
    world.compile();
    world.now += FENCED * 4;
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
}

#[test]
fn an_egress_ip_that_two_exits_name_is_given_to_one_gateway_and_stays_there() {
    let mut world = world(&["gw-1", "gw-2"]);
    let mut other = node("us-1", 5);
    other.labels.insert("exit".to_owned(), "us".to_owned());
    world.add_node(other);
    another(&mut world, "192.0.2.200");
    // Reports of clients count already.
    world.now += SignedDuration::from_secs(60);
    for _ in 0..2 {
        let compilation = world.compile();
        assert_eq!(term(&world, "gw-1"), Some(EgressTerm::Confirmed));
        assert_eq!(term(&world, "us-1"), Some(EgressTerm::Awaited));
        let told = condition(&compilation, "us", "Ready");
        let text = "another exit names one of these egress IPs too, and gw-1 has it; take it out of one of the two";
        assert_eq!(told.message, text);
        assert_eq!(compilation.wake, None, "no time ends this");
    }
    // Of two that begin at the same time, the first by name has it.
    world.previous.clear();
    world.memory = Default::default();
    world.ledgers.clear();
    world.compile();
    assert_eq!(term(&world, "gw-1"), Some(EgressTerm::Confirmed));
    assert_eq!(term(&world, "us-1"), Some(EgressTerm::Awaited));
    world.exits.remove("eu");
    world.compile();
    world.compile();
    assert_eq!(term(&world, "us-1"), Some(EgressTerm::Intent));
}

#[test]
fn of_two_exits_on_one_gateway_only_the_one_that_moves_waits() {
    let mut world = world(&["gw-1", "gw-2"]);
    let mut exit = world.exits["eu"].clone();
    exit.metadata.name = Some("eu-too".to_owned());
    let gateway = exit.spec.gateway.as_mut().expect("a gateway");
    gateway.egress_ips = vec!["192.0.2.201".to_owned()];
    world.apply_exit(exit.clone());
    world.compile();
    world.now += SignedDuration::from_secs(60);
    assert_eq!(world.compile().wake, None);
    leave(&mut world, "gw-1");
    let gateway = exit.spec.gateway.as_mut().expect("a gateway");
    gateway.node_selector.match_labels = Some([("exit".to_owned(), "none".to_owned())].into());
    world.apply_exit(exit.clone());
    world.compile();
    let gateway = exit.spec.gateway.as_mut().expect("a gateway");
    let two = ("kubernetes.io/hostname".to_owned(), "gw-2".to_owned());
    gateway.node_selector.match_labels = Some([two.clone()].into());
    world.apply_exit(exit);
    world
        .nodes
        .get_mut("gw-2")
        .expect("a node")
        .labels
        .extend([two]);
    let wake = world.compile().wake.expect("a time");
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    assert_eq!(wake, world.now + FENCED);
    let first = world.previous[&"gw-1".parse().expect("a name")].nat.first();
    assert_eq!(first.expect("an exit").egress_term, EgressTerm::Confirmed);
}

#[test]
fn a_gateway_that_loses_its_label_hands_the_egress_ips_over() {
    let mut world = world(&["gw-1", "gw-2"]);
    let former = world.nodes.get_mut("gw-1").expect("a node");
    former.labels.clear();
    world.compile();
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    world.compile();
    assert_eq!(term(&world, "gw-1"), None);
    assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Intent));
}

#[test]
fn a_serial_above_the_published_one_shows_nothing_of_the_egress_ips() {
    let mut world = world(&["gw-1", "gw-2"]);
    let serial = world.previous[&"gw-1".parse().expect("a name")].serial;
    world
        .ledgers
        .insert("gw-1".to_owned(), Serial(serial.0 + 100));
    leave(&mut world, "gw-1");
    cordon(&mut world, "gw-1");
    for _ in 0..2 {
        world.compile();
        assert_eq!(term(&world, "gw-2"), Some(EgressTerm::Awaited));
    }
}

#[test]
fn documents_that_cannot_be_written_do_not_add_to_the_memory_with_each_compile() {
    let mut world = world(&["gw-1"]);
    leave(&mut world, "gw-1");
    let mut exit = world.exits["eu"].clone();
    exit.spec.gateway.as_mut().expect("a gateway").egress_ips = vec!["192.0.2.201".to_owned()];
    world.apply_exit(exit);
    world.compile_for(|_| false);
    // What the document takes, and what it would have given.
    for _ in 0..3 {
        world.compile_for(|_| false);
        assert_eq!(world.memory.leaving.len(), 2);
    }
}
