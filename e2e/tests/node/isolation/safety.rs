//! The operator is not locked out: a session over the link that would be cut, a switch that nobody confirms, an agent that dies in
//! the middle of one, and a hotspot.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_e2e::LabError;
use postern_e2e::lab::topology;
use postern_e2e::proof::harness::blank_body;
use postern_intent::body::{Isolation, RadioRule, RemoteLinks};
use postern_intent::{Body, Serial};
use serde_json::Value;

use super::uplinks::{NODE, TwoUplinks, isolation, overlap};

/// A session of a client elsewhere on the LAN with port 22 of the node.
fn session(node: &TwoUplinks) -> (TcpStream, TcpStream) {
    let address = (node.lab.node(NODE).unwrap().ipv4(), 22);
    let listener = node
        .lab
        .node_namespace(NODE)
        .run(|| TcpListener::bind(address).map_err(LabError::file("bind", "port 22")))
        .unwrap();
    let client = node
        .lab
        .namespace("host")
        .run(|| TcpStream::connect(address).map_err(LabError::file("connect", "port 22")))
        .unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

#[test]
fn the_link_of_an_ssh_session_is_not_cut_until_it_is_overridden() {
    let node = TwoUplinks::up();
    let session = session(&node);
    node.lab
        .apply_yaml(&isolation("[eth1]", "rfkill: Ignore"))
        .unwrap();
    let held = node.await_state("Held", "");
    assert_eq!(held["reason"], "RemoteLinkProtected");
    let message = held["message"].as_str().unwrap();
    assert!(
        message.contains("eth0") && message.contains("SSH"),
        "{message}"
    );
    assert_eq!(node.links_up().len(), 2, "nothing is changed");
    assert!(node.events().iter().all(|event| event.up));
    let rules = node.lab.shell(NODE, "nft list table inet postern").unwrap();
    assert!(!rules.contains("isolated"), "nothing is blocked either");

    node.lab
        .apply_yaml(&isolation("[eth1]", "remoteSafety: Override"))
        .unwrap();
    node.await_state("Compliant", "eth1");
    assert_eq!(overlap(&node.events()), None);
    drop(session);
}

/// A body with this isolation; the API server is a service of another machine on the LAN.
fn body(node: &TwoUplinks, preferred: &str, number: u64) -> Body {
    let serial = node.lab.current_body(NODE).unwrap().serial.0 + number;
    let mut body = blank_body(&node.lab, NODE, Serial(serial)).unwrap();
    body.cluster.api_servers = [(topology::HOST4, 7).into()].into();
    body.isolation = Some(Isolation {
        policy: "signed".to_owned(),
        digest: format!("{number:016x}").parse().unwrap(),
        preferred: vec![preferred.to_owned()],
        exclude: Vec::new(),
        hotspot: None,
        radios: RadioRule::Blocked,
        confirm_within_seconds: 4,
        remote_links: RemoteLinks::Cut,
    });
    body
}

#[test]
fn a_switch_that_nothing_confirms_is_rolled_back_in_its_time_and_never_a_success() {
    let node = TwoUplinks::up();
    node.lab.kill("publisher").unwrap();
    node.lab.publish(&body(&node, "eth0", 1)).unwrap();
    node.await_state("Compliant", "eth0");
    let routes = node.configuration();

    node.cut_second();
    let begun = Timestamp::now();
    node.lab.publish(&body(&node, "eth1", 2)).unwrap();
    node.await_state("Confirming", "eth1");
    let rolled_back = node.await_state("RolledBack", "eth0");
    let took = Timestamp::now().duration_since(begun);
    println!("rolled back after {took:#}");
    assert!(took > SignedDuration::from_secs(4) && took < SignedDuration::from_secs(15));
    assert_eq!(rolled_back["reason"], "SwitchRolledBack");
    assert_eq!(node.configuration(), routes, "what eth0 had is put back");
    assert_eq!(overlap(&node.events()), None, "{:?}", node.events());

    // The same switch is confirmed where the uplink reaches the API server.
    node.join_second();
    node.lab.publish(&body(&node, "eth1", 3)).unwrap();
    node.await_state("Compliant", "eth1");
    assert_eq!(overlap(&node.events()), None, "{:?}", node.events());
}

/// How often an agent dies.
const DEATHS: u64 = 12;

#[test]
fn an_agent_that_dies_at_any_moment_of_a_switch_leaves_no_overlap_and_the_next_one_goes_on() {
    let node = TwoUplinks::up();
    node.lab.kill("publisher").unwrap();
    node.lab.publish(&body(&node, "eth0", 1)).unwrap();
    node.await_state("Compliant", "eth0");
    for round in 1..=DEATHS {
        let uplink = if round % 2 == 1 { "eth1" } else { "eth0" };
        node.lab.publish(&body(&node, uplink, round + 1)).unwrap();
        std::thread::sleep(Duration::from_millis(round * 7));
        node.lab.kill("agent-n1").unwrap();
        node.lab.start_agent(NODE).unwrap();
        node.await_state("Compliant", uplink);
        assert_eq!(overlap(&node.events()), None, "{:?}", node.events());
    }
    assert_eq!(node.links_up().len(), 1);
}

#[test]
fn the_pair_of_a_hotspot_is_up_until_its_time_also_over_a_restart() {
    let node = TwoUplinks::up();
    node.lab
        .apply_yaml(&isolation("[eth0]", "remoteSafety: Override"))
        .unwrap();
    node.await_state("Compliant", "eth0");
    let ends = Timestamp::now() + SignedDuration::from_secs(25);
    let pair = format!(
        "remoteSafety: Override\n  exception: {{accessPoint: eth1, upstream: eth0, notAfter: \"{ends:.0}\"}}"
    );
    node.lab.apply_yaml(&isolation("[eth0]", &pair)).unwrap();
    let both = |report: &Value| {
        report["isolation"]["state"] == "Compliant"
            && report["isolation"]["uplinks"] == serde_json::json!(["eth0", "eth1"])
    };
    node.lab.await_report(NODE, "the pair", both).unwrap();
    assert_eq!(node.links_up().len(), 2);
    let before = node.events().len();
    node.lab.kill("agent-n1").unwrap();
    node.lab.start_agent(NODE).unwrap();
    node.lab.await_report(NODE, "the pair again", both).unwrap();
    let since: Vec<_> = node.events()[before..].to_vec();
    assert!(since.iter().all(|event| event.up), "{since:?}");
    node.await_state("Compliant", "eth0");
    assert!(Timestamp::now() >= ends);
    assert_eq!(node.links_up(), ["eth0".to_owned()].into());
}
