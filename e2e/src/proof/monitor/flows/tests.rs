use super::{Flows, Kind, REFUSAL_AGE, REPLY_AGE, Uplink};
use crate::proof::monitor::frame::{Note, Packet};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn packet(source: &str, from: u16, destination: &str, to: u16) -> Packet {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Packet {
        mac: MAC,
        source,
        destination,
        protocol: 6,
        ports: Some((from, to)),
        note: Note::None,
    }
}

fn flows() -> Flows {
    let uplink = |address: &str| Uplink {
        addresses: [address.parse().unwrap()].into(),
        mac: MAC,
    };
    let nodes = [("n1", "192.168.10.11"), ("n2", "192.168.10.12")];
    Flows::new(nodes.map(|(name, at)| (name.to_owned(), uplink(at))).into())
}

fn reset(source: &str) -> Packet {
    let packet = packet(source, 7, "203.0.112.9", 5000);
    Packet {
        note: Note::Refusal(packet.tuple()),
        ..packet
    }
}

#[test]
fn the_answer_to_a_node_port_connection_of_the_world_is_a_reply_of_that_node_for_a_while() {
    let answer = packet("192.168.10.11", 30080, "203.0.112.9", 5000);
    let mut flows = flows();
    flows.arrived(&packet("203.0.112.9", 5000, "192.168.10.11", 30080), 0);
    assert_eq!(flows.left("n1", &answer, REPLY_AGE), Kind::Reply);
    assert_eq!(flows.left("n2", &answer, 1), Kind::Plain, "of another node");
    assert_eq!(flows.left("n1", &answer, REPLY_AGE + 1), Kind::Plain);
}

#[test]
fn what_a_node_opened_stays_its_own_when_the_world_answers() {
    let mut flows = flows();
    let out = packet("192.168.10.11", 4000, "203.0.112.9", 7);
    assert_eq!(flows.left("n1", &out, 0), Kind::Plain);
    flows.arrived(&packet("203.0.112.9", 7, "192.168.10.11", 4000), 1);
    assert_eq!(flows.left("n1", &out, 2), Kind::Plain);
}

#[test]
fn a_forged_client_that_the_world_never_was_makes_no_reply() {
    let answer = packet("192.168.10.11", 30080, "203.0.112.9", 5000);
    assert_eq!(flows().left("n1", &answer, 0), Kind::Plain);
}

#[test]
fn a_connection_straight_to_a_pod_has_no_replies() {
    let mut flows = flows();
    flows.arrived(&packet("203.0.112.9", 5000, "10.244.1.2", 8080), 0);
    let answer = packet("10.244.1.2", 8080, "203.0.112.9", 5000);
    assert_eq!(flows.left("n1", &answer, 1), Kind::Plain);
}

#[test]
fn a_reset_is_the_nodes_own_once_for_each_packet_that_came_and_only_from_its_own_address() {
    let mut flows = flows();
    let own = reset("192.168.10.11");
    assert_eq!(flows.left("n1", &own, 0), Kind::Plain, "it answers nothing");
    let came = packet("203.0.112.9", 5000, "192.168.10.11", 7);
    flows.arrived(&came, 1);
    assert_eq!(flows.left("n2", &own, 2), Kind::Plain);
    assert_eq!(flows.left("n1", &reset("10.244.1.2"), 2), Kind::Plain);
    assert_eq!(flows.left("n1", &own, 2), Kind::NodeReset);
    assert_eq!(flows.left("n1", &own, 3), Kind::Plain, "the second one");
    flows.arrived(&came, 4);
    assert_eq!(flows.left("n1", &own, 5 + REFUSAL_AGE), Kind::Plain);
}

#[test]
fn a_frame_that_the_nodes_own_interface_has_not_sent_is_foreign() {
    let mut flows = flows();
    let mut packet = packet("192.168.10.11", 4000, "203.0.112.9", 7);
    assert_eq!(flows.left("veth9", &packet, 0), Kind::Foreign);
    packet.mac = [2, 0, 0, 0, 0, 9];
    assert_eq!(flows.left("n1", &packet, 0), Kind::Foreign);
}

#[test]
fn neighbour_discovery_is_the_links_only_about_the_link() {
    let mut flows = flows();
    let mut solicit = |to: &str, about: &str| {
        let packet = Packet {
            protocol: 58,
            ports: None,
            note: Note::Neighbour(about.parse().unwrap()),
            ..packet("2001:db8:10::11", 0, to, 0)
        };
        flows.left("n1", &packet, 0)
    };
    assert_eq!(solicit("ff02::1:ff00:1", "2001:db8:10::1"), Kind::Link);
    assert_eq!(solicit("fe80::1", "fe80::1"), Kind::Link);
    let world = "2001:db8:aaaa::9";
    assert_eq!(solicit("ff02::1:ff00:9", world), Kind::Plain);
    assert_eq!(solicit(world, "2001:db8:10::1"), Kind::Plain);
}
