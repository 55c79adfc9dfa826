use std::net::IpAddr;

use jiff::Timestamp;

use super::count;
use crate::lab::PodRecord;
use crate::proof::judge::{Allowed, Epoch, Exit, Guard, Inside, Packets, Timeline};
use crate::proof::monitor::{Key, Kind};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod() -> PodRecord {
    PodRecord {
        namespace: "shop".into(),
        name: "crawler".into(),
        uid: "u1".into(),
        node: "n1".into(),
        addresses: vec![ip("10.244.1.5")],
        world: [
            ip("203.0.113.0"),
            ip("2001:db8:aaaa::100"),
            ip("203.0.113.1"),
            ip("2001:db8:aaaa::101"),
        ],
        created: at(0),
        deleted: None,
    }
}

fn epoch(published: i64, verified: i64, allowed: Option<Allowed>) -> Epoch {
    Epoch {
        published: at(published),
        verified: at(verified),
        expires: at(verified + 1000),
        node: Guard::Held,
        guarded: ["shop".to_owned()].into(),
        pods: allowed
            .map(|allowed| ("u1".to_owned(), allowed))
            .into_iter()
            .collect(),
        serves: [].into(),
    }
}

fn by(gateway: &str) -> Option<Allowed> {
    let exit = Exit::Gateway {
        node: gateway.to_owned(),
        exit: "eu".to_owned(),
    };
    Some(Allowed::Only([exit].into()))
}

fn timeline(epochs: Vec<Epoch>) -> Timeline {
    let own = [
        ("n1", "192.168.10.11"),
        ("gw-1", "192.168.10.13"),
        ("gw-2", "192.168.10.14"),
    ];
    Timeline {
        nodes: [("n1".to_owned(), epochs)].into(),
        own: own
            .map(|(node, address)| (node.to_owned(), [ip(address)].into()))
            .into(),
        unfounded: Vec::new(),
        probed: Default::default(),
    }
}

fn key(node: &str, source: &str, kind: Kind) -> Key {
    Key {
        node: node.into(),
        source: ip(source),
        destination: ip("203.0.113.0"),
        protocol: 17,
        port: 7,
        kind,
    }
}

fn one(time: i64, key: &Key, timeline: &Timeline) -> (u64, u64, u64) {
    let packets = judged(time, key, &[pod()], timeline);
    (
        packets.pods[0].arrived,
        packets.pods[0].before,
        packets.leaked,
    )
}

fn judged(time: i64, key: &Key, pods: &[PodRecord], timeline: &Timeline) -> Packets {
    let packets = [(at(time), key)].into_iter();
    count(packets, pods, timeline, &Inside::default())
}

const ARRIVED: (u64, u64, u64) = (1, 0, 0);
const BEFORE: (u64, u64, u64) = (0, 1, 0);
const LEAKED: (u64, u64, u64) = (0, 0, 1);

#[test]
fn what_leaves_before_the_first_verified_report_is_listed_as_before_and_afterwards_it_is_a_leak() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    let by_node = key("n1", "192.168.10.11", Kind::Plain);
    assert_eq!(one(9, &by_node, &timeline), BEFORE);
    assert_eq!(one(10, &by_node, &timeline), LEAKED);
    assert_eq!(
        one(10, &key("gw-1", "192.168.10.13", Kind::Plain), &timeline),
        ARRIVED
    );
}

#[test]
fn what_left_by_the_exit_before_the_report_has_arrived() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    assert_eq!(
        one(9, &key("gw-1", "192.168.10.13", Kind::Plain), &timeline),
        ARRIVED
    );
}

#[test]
fn the_exits_address_on_another_node_is_a_leak() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    assert_eq!(
        one(11, &key("n1", "192.168.10.13", Kind::Plain), &timeline),
        LEAKED
    );
}

#[test]
fn during_a_move_both_exits_are_right_until_the_new_one_is_verified() {
    let (old, new) = (by("gw-1"), by("gw-2"));
    let timeline = timeline(vec![epoch(1, 2, old), epoch(10, 12, new)]);
    let (first, second) = (
        key("gw-1", "192.168.10.13", Kind::Plain),
        key("gw-2", "192.168.10.14", Kind::Plain),
    );
    assert_eq!(one(9, &second, &timeline), LEAKED);
    assert_eq!(
        (one(11, &first, &timeline), one(11, &second, &timeline)),
        (ARRIVED, ARRIVED)
    );
    assert_eq!(
        (one(12, &first, &timeline), one(12, &second, &timeline)),
        (LEAKED, ARRIVED)
    );
}

#[test]
fn a_pod_that_the_intent_does_not_list_is_held_and_a_released_one_may_go_anywhere() {
    let by_node = key("n1", "192.168.10.11", Kind::Plain);
    assert_eq!(
        one(11, &by_node, &timeline(vec![epoch(8, 10, None)])),
        LEAKED
    );
    assert_eq!(
        one(
            11,
            &by_node,
            &timeline(vec![epoch(8, 10, Some(Allowed::Anything))])
        ),
        ARRIVED
    );
}

#[test]
fn a_pod_created_under_a_guard_is_judged_from_its_first_packet() {
    let guard = timeline(vec![epoch(-9, -8, None), epoch(8, 10, by("gw-1"))]);
    assert_eq!(
        one(1, &key("n1", "192.168.10.11", Kind::Plain), &guard),
        LEAKED
    );
}

#[test]
fn a_raw_pod_source_is_attributed_to_the_pod_whatever_its_destination() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    let stray = Key {
        destination: ip("203.0.112.9"),
        ..key("n1", "10.244.1.5", Kind::Plain)
    };
    assert_eq!(one(11, &stray, &timeline), LEAKED);
}

#[test]
fn replies_and_the_nodes_own_resets_are_counted_apart() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    let (reply, reset) = (
        key("n1", "192.168.10.11", Kind::Reply),
        key("n1", "192.168.10.11", Kind::NodeReset),
    );
    let packets: Packets = count(
        [(at(11), &reply), (at(11), &reset)].into_iter(),
        &[pod()],
        &timeline,
        &Inside::default(),
    );
    assert_eq!(
        (
            packets.leaked,
            packets.replies,
            packets.node_resets,
            packets.captured
        ),
        (0, 1, 1, 2)
    );
}

/// An epoch that neither lists the pod nor guards its namespace.
fn silent(published: i64, verified: i64) -> Epoch {
    Epoch {
        guarded: [].into(),
        ..epoch(published, verified, None)
    }
}

#[test]
fn a_pod_that_was_guarded_leaks_while_nobody_lists_it_until_it_is_listed_as_released() {
    let exit = || by("gw-1");
    let by_node = key("n1", "192.168.10.11", Kind::Plain);
    let gone = timeline(vec![
        epoch(1, 2, exit()),
        silent(10, 12),
        silent(20, 22),
        epoch(30, 32, Some(Allowed::Anything)),
        silent(40, 42),
    ]);
    for time in [11, 12, 25] {
        assert_eq!(one(time, &by_node, &gone), LEAKED, "{time}");
    }
    let by_exit = key("gw-1", "192.168.10.13", Kind::Plain);
    assert_eq!(one(11, &by_exit, &gone), ARRIVED, "both are right");
    assert_eq!(one(12, &by_exit, &gone), LEAKED, "it is held");
    for time in [31, 32, 45] {
        assert_eq!(one(time, &by_node, &gone), ARRIVED, "{time}");
    }
    let never = timeline(vec![silent(1, 2), silent(10, 12)]);
    assert_eq!(one(13, &by_node, &never), ARRIVED);
    let held = timeline(vec![epoch(1, 2, None), silent(10, 12)]);
    assert_eq!(one(13, &by_node, &held), LEAKED, "held, then not listed");
}

#[test]
fn a_node_that_is_released_lets_everything_go_and_ends_no_guard() {
    let released = Epoch {
        node: Guard::Free,
        guarded: [].into(),
        ..epoch(10, 12, by("gw-1"))
    };
    let timeline = timeline(vec![epoch(1, 2, by("gw-1")), released, silent(20, 22)]);
    let by_node = key("n1", "192.168.10.11", Kind::Plain);
    assert_eq!(one(11, &by_node, &timeline), ARRIVED);
    assert_eq!(one(13, &by_node, &timeline), ARRIVED);
    let listed_no_more = one(25, &by_node, &timeline);
    assert_eq!(listed_no_more, LEAKED, "the next intent does not list it");
}

#[test]
fn a_pod_that_is_gone_owns_nothing_any_more() {
    let gone = PodRecord {
        deleted: Some(at(20)),
        ..pod()
    };
    let free = timeline(vec![epoch(8, 10, Some(Allowed::Anything))]);
    let key = key("n1", "192.168.10.11", Kind::Plain);
    for (time, nobodys) in [(21, 0), (25, 1)] {
        let packets = judged(time, &key, std::slice::from_ref(&gone), &free);
        assert_eq!(packets.unowned.len(), nobodys, "{time}: {packets:?}");
    }
}

#[test]
fn what_is_to_no_pods_address_after_snat_is_nobodys() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    for destination in ["203.0.112.9", "192.168.10.3", "239.1.2.3"] {
        let key = Key {
            destination: ip(destination),
            ..key("n1", "192.168.10.11", Kind::Plain)
        };
        let packets = judged(11, &key, &[pod()], &timeline);
        assert_eq!(packets.unowned[0].destination, ip(destination));
        assert_ne!(packets.faults(), Vec::<String>::new());
    }
}

#[test]
fn a_second_interface_has_no_exit_even_with_the_exits_address() {
    let timeline = timeline(vec![epoch(8, 10, by("gw-1"))]);
    let own = key("gw-1", "192.168.10.13", Kind::Plain);
    assert_eq!(one(11, &own, &timeline), ARRIVED);
    let foreign = key("gw-1", "192.168.10.13", Kind::Foreign);
    assert_eq!(one(11, &foreign, &timeline), LEAKED);
}

#[test]
fn a_pod_on_a_gateway_that_masquerades_cannot_be_judged_and_one_with_an_egress_address_can() {
    let local = PodRecord {
        node: "gw-1".into(),
        ..pod()
    };
    for (egress, source, indistinct, leaked) in [
        (vec![], "192.168.10.13", 1, 0),
        (vec!["192.168.10.200"], "192.168.10.13", 0, 1),
        (vec!["192.168.10.200"], "192.168.10.200", 0, 0),
    ] {
        let egress = egress.into_iter().map(ip).collect();
        let served = Epoch {
            serves: [("eu".to_owned(), egress)].into(),
            ..epoch(8, 10, by("gw-1"))
        };
        let mut timeline = timeline(Vec::new());
        timeline.nodes = [("gw-1".to_owned(), vec![served])].into();
        let key = key("gw-1", source, Kind::Plain);
        let packets = judged(11, &key, std::slice::from_ref(&local), &timeline);
        let found = (packets.pods[0].indistinct, packets.leaked);
        assert_eq!(found, (indistinct, leaked), "{source}: {packets:?}");
        let agreed = Packets {
            agreed: true,
            ..packets
        };
        assert_eq!(agreed.faults().is_empty(), indistinct + leaked == 0);
    }
}

#[test]
fn an_address_that_an_exit_had_before_is_no_exit_any_more() {
    let served = |published, verified, address: &str| Epoch {
        serves: [("eu".to_owned(), [ip(address)].into())].into(),
        ..epoch(published, verified, None)
    };
    let mut timeline = timeline(vec![epoch(1, 2, by("gw-1"))]);
    let moved = vec![
        served(1, 2, "192.168.10.200"),
        served(20, 22, "192.168.10.201"),
    ];
    timeline.nodes.insert("gw-1".to_owned(), moved);
    let (old, new) = ("192.168.10.200", "192.168.10.201");
    for (time, source, found) in [
        (19, old, ARRIVED),
        (19, new, LEAKED),
        (21, old, ARRIVED),
        (21, new, ARRIVED),
        (23, old, LEAKED),
        (23, new, ARRIVED),
    ] {
        let key = key("gw-1", source, Kind::Plain);
        assert_eq!(one(time, &key, &timeline), found, "{time} {source}");
    }
}

#[test]
fn what_a_gateway_asks_of_targets_and_what_it_forwards_for_its_egress_ip_is_no_pods() {
    let served = Epoch {
        serves: [("eu".to_owned(), [ip("192.168.10.200")].into())].into(),
        ..epoch(1, 2, None)
    };
    let mut timeline = timeline(vec![epoch(1, 2, by("gw-1"))]);
    timeline.nodes.insert("gw-1".to_owned(), vec![served]);
    let target = ip("203.0.112.1");
    timeline.probed.insert((target, 80).into(), at(1));
    let to = |node: &str, source: &str, destination: IpAddr| Key {
        destination,
        port: 80,
        protocol: 6,
        ..key(node, source, Kind::Plain)
    };
    let judged_at = |time, key: &Key| {
        let found = judged(time, key, &[], &timeline);
        (found.probes, found.strays, found.unowned.len())
    };
    let judged = |key: &Key| judged_at(10, key);
    let probe = to("gw-1", "192.168.10.200", target);
    assert_eq!(judged(&probe), (1, 0, 0));
    assert_eq!(judged_at(0, &probe), (0, 0, 1), "no intent serves yet");
    assert_eq!(judged(&to("n1", "192.168.10.200", target)), (0, 0, 1));
    let egress = ip("192.168.10.200");
    let stray = to("gw-1", "203.0.113.2", egress);
    assert_eq!(judged(&stray), (0, 1, 0));
    assert_eq!(judged_at(0, &stray), (0, 0, 1), "it had no egress IP yet");
    assert_eq!(judged(&to("n1", "203.0.113.2", egress)), (0, 0, 1));
    let unreachable = |node: &str, source: &str| Key {
        protocol: 1,
        ..to(node, source, target)
    };
    assert_eq!(judged(&unreachable("gw-1", "192.168.10.13")), (0, 1, 0));
    assert_eq!(judged(&unreachable("n1", "192.168.10.11")), (0, 0, 1));
}

#[test]
fn an_intent_that_has_run_out_lets_nothing_out() {
    let key = key("gw-1", "192.168.10.13", Kind::Plain);
    let short = Epoch {
        expires: at(20),
        ..epoch(8, 10, by("gw-1"))
    };
    let timeline = timeline(vec![short]);
    assert_eq!(one(20, &key, &timeline), ARRIVED);
    assert_eq!(one(22, &key, &timeline), LEAKED);
}
