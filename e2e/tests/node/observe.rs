//! `enforcement: Observe`: what a policy would refuse leaves by its exit and is counted, and nothing leaves otherwise.

use std::net::{IpAddr, SocketAddr};

use postern_e2e::lab::topology::HOST4;
use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};
use serde_json::{Value, json};

use crate::holes::{Talk, WEB, lab_program};
use crate::terms::{Scene, own, second};

const NODE: &str = "n1";

/// A policy with a rule that denies these destinations, and a default that denies the others.
fn denying(to: [IpAddr; 2], enforcement: &str) -> String {
    format!(
        "defaultAction: Deny\n  enforcement: {enforcement}\n  rules: [{{name: never, action: Deny, to: [{{cidr: {}/32}}, \
         {{cidr: '{}/128'}}]}}]",
        to[0], to[1]
    )
}

/// The state of the policy's scope, as the node reports it, and what its rules would have refused.
fn scope(scene: &Scene) -> Value {
    let report = scene.lab.report_status(NODE).unwrap();
    report["scopes"][0].clone()
}

/// What a rule would have refused, by the metric of the agent; 0 also where there is no such series.
fn would_refuse(scene: &Scene, rule: &str) -> u64 {
    let labels = format!("namespace=\"crawlers\",policy=\"crawler\",rule=\"{rule}\"");
    let name = format!("postern_agent_would_refuse_packets{{{labels}}}");
    scene.lab.agent_metric(NODE, &name).unwrap()
}

fn await_count(scene: &Scene, rule: &str) -> u64 {
    let found = wait_until(WAIT_DEADLINE, "a count of the rule", || {
        let packets = would_refuse(scene, rule);
        Ok((packets > 0).then_some(packets))
    });
    found.unwrap()
}

#[test]
fn what_a_policy_would_refuse_leaves_by_the_exit_and_is_counted_until_the_policy_enforces() {
    let scene = Scene::up();
    let first = [scene.web.world[0], scene.web.world[1]];
    scene.apply(&denying(first, "Enforce"));
    for protocol in ["tcp", "udp"] {
        scene.refuses("the rule", own(&scene.web, 7), protocol);
        scene.refuses("the default action", second(&scene.web, 7), protocol);
    }
    assert_eq!(would_refuse(&scene, "never"), 0);

    scene.apply(&denying(first, "Observe"));
    scene.answers("what the rule denies", own(&scene.web, 7), "tcp");
    let by_rule = await_count(&scene, "never");
    let by_default = would_refuse(&scene, "defaultAction");
    assert_eq!(by_default, 0, "the rule alone was asked: {by_rule}");
    scene.answers("what the default denies", second(&scene.web, 7), "udp");
    await_count(&scene, "defaultAction");
    scene.in_force();
    let found = scope(&scene);
    assert_eq!(
        (&found["state"], &found["posture"]),
        (&json!("Observing"), &json!("TunnelOnly"))
    );
    assert_eq!(
        (&found["pods"]["enforced"], &found["pods"]["observed"]),
        (&json!(0), &json!(1))
    );

    // What no list of the policy decides: the LAN, where the exit's half is given.
    let host = SocketAddr::new(HOST4.into(), 7);
    scene.settles("the LAN", host, "tcp", None);

    let mut talk = Talk::converse(&scene.lab, &scene.web, 0);
    talk.goes_on("while the policy observes");
    scene.apply(&denying([scene.web.world[2], first[1]], "Observe"));
    scene.in_force();
    talk.goes_on("while other rules are observed");
    scene.apply(&denying(first, "Enforce"));
    scene.refuses("the rule again", own(&scene.web, 7), "tcp");
    scene.refuses("the default action again", second(&scene.web, 7), "udp");
    talk.ends();
    scene.in_force();
    assert_eq!(scope(&scene)["state"], "Enforcing");
    scene.nothing_leaked();
}

#[test]
fn a_filter_that_only_observes_answers_for_every_name_and_counts_what_it_would_refuse() {
    let scene = Scene::up();
    let resolver = scene.web.world[2];
    let filter = |enforcement: &str| {
        scene.apply(&format!(
            "defaultAction: Deny\n  enforcement: {enforcement}\n  dns: {{mode: Filter, upstreams: ['{resolver}']}}"
        ));
        scene.in_force();
    };
    let told = |name: &str| {
        let (program, server) = (lab_program(), resolver.to_string());
        let args = ["resolve", "--server", &server, name];
        let output = scene.lab.exec(WEB, &[&[&*program][..], &args].concat());
        String::from_utf8_lossy(&output.unwrap().stdout)
            .trim()
            .to_owned()
    };
    let address = scene.web.world[0];
    let name = name_of(address);
    let becomes = |what: &str, wanted: &str| {
        let found = wait_until(WAIT_DEADLINE, what, || {
            Ok((told(&name) == wanted).then_some(()))
        });
        found.unwrap();
    };
    filter("Enforce");
    becomes("no rule allows the name", "NXDOMAIN");
    filter("Observe");
    becomes("asked by the exit", &address.to_string());
    scene.answers("what no answer granted", own(&scene.web, 7), "tcp");
    let metric = "postern_agent_dns_questions_total{reason=\"would-refuse\"}";
    assert!(scene.lab.agent_metric(NODE, metric).unwrap() > 0);
    // An address of the cluster is brought to nobody.
    assert_eq!(told("whoami.world.test"), "NXDOMAIN");
    assert_eq!(told("use-application-dns.net"), "NXDOMAIN");
    filter("Enforce");
    becomes("no rule allows the name once more", "NXDOMAIN");
    scene.nothing_leaked();
}
