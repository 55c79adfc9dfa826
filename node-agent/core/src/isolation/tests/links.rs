//! Which links count, and the state that they get back.

use super::super::switch::CARRIER_WAIT;
use super::super::{RemoteUse, Restoration};
use super::Node;
use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use postern_plan::host::{AdminState, LinkConfig};

#[test]
fn ports_of_a_bridge_and_parents_of_a_vlan_are_one_uplink_with_it() {
    let mut node = Node::with(
        &["br0", "eth0", "eth1", "eth1.7", "cni0", "veth1"],
        &["br0"],
    );
    node.link_mut("eth0").master = Some("br0".to_owned());
    node.link_mut("eth1.7").parent = Some("eth1".to_owned());
    node.link_mut("veth1").master = Some("cni0".to_owned());
    let found = node.settles();
    assert_eq!(found.uplinks, ["br0", "eth0"]);
    assert_eq!(node.up(), ["br0", "cni0", "eth0", "veth1"].into());
    let guard = found.guard.unwrap().passes;
    for passes in ["br0", "eth0", "lo", "veth*", "cni*", "pst-*"] {
        assert!(guard.contains(passes), "{passes}: {guard:?}");
    }
    assert!(!guard.contains("eth1") && !guard.contains("veth1"));
    node.order(&["eth1.7"]);
    node.settles();
    assert_eq!(node.up(), ["cni0", "eth1", "eth1.7", "veth1"].into());
}

#[test]
fn ports_of_a_vrf_are_uplinks_of_their_own_and_the_ends_of_pods_are_none() {
    let mut node = Node::with(
        &["eth0", "eth1", "ovs-system", "red", "web-1a2b"],
        &["eth0"],
    );
    node.link_mut("red").kind = "vrf".to_owned();
    for port in ["eth0", "eth1"] {
        node.link_mut(port).master = Some("red".to_owned());
    }
    node.link_mut("web-1a2b").kind = "veth".to_owned();
    node.link_mut("web-1a2b").master = Some("ovs-system".to_owned());
    let found = node.settles();
    assert_eq!(found.uplinks, ["eth0"]);
    assert_eq!(node.done, ["-eth1"]);
    let guard = found.guard.unwrap().passes;
    assert!(
        guard.contains("red") && guard.contains("web-1a2b"),
        "{guard:?}"
    );
}

#[test]
fn a_link_that_is_excluded_later_comes_up_again_and_is_left_alone_from_then_on() {
    let mut node = Node::with(&["eth0", "wg0"], &["eth0"]);
    node.settles();
    assert_eq!(node.up(), ["eth0"].into());
    node.order(&["eth0"]);
    node.isolation.exclude = vec!["wg0".to_owned()];
    node.settles();
    assert_eq!(node.up(), ["eth0", "wg0"].into());
    node.set("wg0", AdminState::Down);
    node.settles();
    assert_eq!(node.up(), ["eth0"].into(), "its owner brought it down");
}

#[test]
fn links_get_back_the_state_that_they_had() {
    let mut node = Node::with(&["eth0", "eth1", "eth2"], &["eth2"]);
    node.set("eth2", AdminState::Down);
    node.settles();
    assert_eq!(node.up(), ["eth2"].into());
    assert_eq!(node.goes_back(), Restoration::Done);
    assert_eq!(node.up(), ["eth0", "eth1"].into());
}

#[test]
fn the_uplink_in_use_stays_up_until_one_that_was_up_before_has_a_carrier() {
    let mut node = Node::with(&["eth0", "wwan0"], &["eth0"]);
    node.set("wwan0", AdminState::Down);
    node.settles();
    node.unplugged.insert("eth0".to_owned());
    node.set("eth0", AdminState::Up);
    node.settles();
    node.passes(CARRIER_WAIT);
    assert_eq!(node.up(), ["wwan0"].into());
    assert_eq!(node.goes_back(), Restoration::AwaitsCarrier);
    assert_eq!(node.up(), ["eth0", "wwan0"].into());
    node.unplugged.clear();
    node.set("eth0", AdminState::Up);
    assert_eq!(node.goes_back(), Restoration::Done);
    assert_eq!(node.up(), ["eth0"].into());
}

#[test]
fn an_order_that_was_only_ever_held_gives_no_link_another_state_at_its_end() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth1"]);
    node.remote.insert("eth0".to_owned(), RemoteUse::Ssh);
    node.set("eth1", AdminState::Down);
    assert_eq!(node.settles().state, IsolationState::Held);
    node.set("eth1", AdminState::Up);
    assert_eq!(node.goes_back(), Restoration::Done);
    assert_eq!(node.up(), ["eth0", "eth1"].into());
}

/// A note of what a link lost when it was brought down.
fn taken(node: &mut Node, link: &str) {
    let config = LinkConfig {
        device: link.parse().unwrap(),
        addresses: Vec::new(),
        routes: Vec::new(),
    };
    node.memory.taken.insert(link.to_owned(), config);
}

#[test]
fn what_a_link_lost_is_put_back_until_it_is_there_and_its_lack_is_said() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth0"]);
    node.settles();
    taken(&mut node, "eth1");
    node.unrestorable.insert("eth1".to_owned());
    node.order(&["eth1"]);
    let found = node.settles();
    assert_eq!(node.up(), ["eth1"].into());
    assert_eq!(
        (found.state, found.reason),
        (IsolationState::Deviating, Reason::LinkNotRestored)
    );
    node.unrestorable.clear();
    assert_eq!(node.settles().state, IsolationState::Compliant);
    assert!(node.memory.taken.is_empty(), "the next note is a new one");
}

#[test]
fn what_a_link_lost_is_put_back_too_where_another_program_raised_it_before_the_switch_to_it() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth0"]);
    node.settles();
    taken(&mut node, "eth1");
    node.set("eth0", AdminState::Down);
    node.set("eth1", AdminState::Up);
    node.order(&["eth1"]);
    assert_eq!(node.settles().state, IsolationState::Compliant);
    assert!(node.memory.taken.is_empty());
}

#[test]
fn the_end_puts_back_what_a_link_lost_also_where_it_is_up_already() {
    let mut node = Node::with(&["eth0", "eth1"], &["eth0"]);
    node.settles();
    taken(&mut node, "eth1");
    node.set("eth1", AdminState::Up);
    assert_eq!(node.goes_back(), Restoration::Done);
    assert!(node.memory.taken.is_empty());
}
