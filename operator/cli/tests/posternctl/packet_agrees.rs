//! Explanations of a packet agree with a first match by hand, with the published ruleset and with the document.

use std::fs;
use std::path::Path;

use postern_plan::evaluate::{Evaluator, Hop, Packet, PathEnd, Transport};

use crate::packet::{INPUTS, OBJECTS, lab, pod, said};
use crate::verbs::{ends, posternctl};

/// The first rule that names a packet decides, without nft, chains or sets.
fn first_match(destination: &str, port: u16) -> (&'static str, Option<&'static str>) {
    let (is_ours, is_named) = (
        destination.starts_with("203.0.113."),
        (8000..9000).contains(&port),
    );
    match destination {
        "203.0.113.66" => ("Refused", Some("bad")),
        _ if is_ours && is_named => ("LeavesByExit", Some("web")),
        _ => ("Refused", None),
    }
}

#[test]
fn explanations_agree_with_a_first_match_by_hand_and_with_the_published_ruleset() {
    let lab = lab();
    lab.publish();
    let body = lab.body("worker");
    let facts = postern_plan::desired::HostFacts::assumed();
    let desired = postern_plan::Desired::from_inputs(&postern_plan::desired::PlanInputs {
        settings: &postern_plan::settings::NodeSettings::default(),
        body: Some(&body),
        bindings: &postern_plan::binding::Bindings::default(),
        facts: &facts,
    });
    let mut evaluator = Evaluator::new(&desired.ruleset);
    let device = body.routes[0].interface.to_string();
    let family = postern_plan::host::Family::V4;
    let own = postern_plan::desired::tunnel_address(&body, &body.routes[0].interface, family);
    evaluator
        .addresses
        .insert((device.clone(), family), own.expect("an address"));
    for destination in ["203.0.113.5", "203.0.113.66", "203.0.113.67", "192.88.99.1"] {
        for port in [7999, 8000, 8999, 9000] {
            let code = match first_match(destination, port).0 {
                "Refused" => 3,
                _ => 0,
            };
            let found = said(&lab, "both", &format!("{destination} --port {port}"), code);
            let rule = found["cause"]["rule"].as_str();
            let told = (found["result"].as_str().expect("a result"), rule);
            assert_eq!(told, first_match(destination, port), "{found}");
            let transport = Transport::Tcp {
                sport: 40_000,
                dport: port,
                syn: true,
            };
            let source = "10.244.2.8".parse().expect("an address");
            let mut packet = Packet::new(source, destination.parse().expect("one"), transport);
            packet.iif = "cni0".to_owned();
            let passage = evaluator.routed(&packet, |_| Hop::Interface(device.clone()));
            let left = matches!(passage.end, PathEnd::Left { .. });
            assert_eq!(left, code == 0, "{destination} {port}: {passage:#?}");
        }
    }
}

#[test]
fn the_commands_that_the_document_shows_about_a_packet_give_the_answers_that_it_names() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operator.md");
    let document = fs::read_to_string(document).expect("a document");
    let lab = lab();
    let shop = OBJECTS.replace("namespace: crawlers", "namespace: shop");
    let pod = pod("crawler-1", "crawler", "{ip: 10.244.2.8}").replace("crawlers", "shop");
    lab.write("manifests/objects.yaml", &(shop + &pod));
    fs::remove_file(lab.path("manifests/pods.yaml")).expect("pods");
    let mut shown = 0;
    for line in document
        .lines()
        .filter(|line| line.starts_with("posternctl explain pod"))
    {
        let (command, answer) = line.split_once('#').expect("a comment");
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        if !arguments.contains(&"--to") {
            continue;
        }
        let output = posternctl(&lab, &[&arguments[..], &INPUTS].concat());
        let code = if answer.contains("exit code 3") { 3 } else { 0 };
        ends(&output, code);
        shown += 1;
    }
    assert_eq!(shown, 5);
}
