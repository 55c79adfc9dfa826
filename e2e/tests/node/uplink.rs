//! A policy with `route.type: NodeUplink`: its pods leave by the uplink of their node with the node's address, filtered, and
//! not at all without a filter.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_e2e::lab::topology::WORLD_LAN4;
use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::lab::{PodOptions, UpOptions};
use postern_e2e::proof::harness::{FLOWS, TestLab, WAIT_DEADLINE, wait_until};

use crate::holes::{WEB, lab_program};
use crate::terms::{Scene, by, own, policy, second};

const NODE: &str = "n1";

/// The policy `crawlers/crawler` by the uplink, with these lines of its spec.
fn by_uplink(lines: &str) -> String {
    let policy = policy(lines);
    policy.replace(
        "{type: Exit, exitNodes: [{name: eu}]}",
        "{type: NodeUplink}",
    )
}

#[test]
fn pods_leave_by_the_uplink_of_their_node_as_the_rules_say_and_ask_for_names_there() {
    let scene = Scene::up();
    let node = scene.lab.node(NODE).unwrap().addresses();
    let resolver = scene.web.world[2];
    let apply = |lines: &str| scene.lab.apply_yaml(&by_uplink(lines)).unwrap();
    let answers = |what: &str, to, protocol: &str| {
        for (to, seen) in std::iter::zip::<[_; 2], _>(to, node) {
            scene.settles(what, to, protocol, Some(&seen.to_string()));
        }
    };
    let [first4, first6] = [scene.web.world[0], scene.web.world[1]];
    apply(&format!(
        "defaultAction: Deny\n  dns: {{upstreams: ['{resolver}']}}\n  rules: [{{name: one, action: Allow, \
         to: [{{cidr: {first4}/32}}, {{cidr: '{first6}/128'}}], ports: [{{protocol: TCP, port: 7}}]}}]"
    ));
    answers("an allowed destination", own(&scene.web, 7), "tcp");
    scene.refuses("another port", own(&scene.web, 80), "tcp");
    scene.refuses("another protocol", own(&scene.web, 7), "udp");
    scene.refuses("another destination", second(&scene.web, 7), "tcp");
    by(&scene, resolver, "a name", &node[0].to_string());

    // The CNI of a node may masquerade nothing.
    let plain = "for program in iptables ip6tables; do $program -t nat -F POSTROUTING; done; \
                 nft delete table inet cni_plugins_masquerade; true";
    scene.lab.shell(NODE, plain).unwrap();

    apply("defaultAction: Allow\n  dns: {mode: Block}");
    answers("everything is allowed", second(&scene.web, 7), "udp");
    by(&scene, resolver, "names are blocked", "REFUSED");

    scene.apply("defaultAction: Allow");
    scene.answers("by the exit again", own(&scene.web, 7), "tcp");
    own_resolver(&scene, &node);
    apply("defaultAction: Deny");
    scene.refuses("nothing is allowed", own(&scene.web, 7), "tcp");
    scene.in_force();
    let mut packets = scene.lab.packets().unwrap();
    packets
        .unowned
        .retain(|of| (of.node.as_str(), of.destination, of.port) != (NODE, WORLD_LAN4.into(), 53));
    assert_eq!(packets.faults(), Vec::<String>::new());
}

/// The node's own resolver has a private address, as that of a cloud: it is asked by the uplink, and through no exit.
fn own_resolver(scene: &Scene, node: &[IpAddr; 2]) {
    let cluster = "10.96.0.53".parse().unwrap();
    let file = scene.lab.dir().join("resolv.conf");
    std::fs::write(&file, format!("nameserver {WORLD_LAN4}\n")).unwrap();
    scene.lab.stop("agent-n1").unwrap();
    scene
        .lab
        .set_agent_arguments(NODE, &["--resolv-conf", file.to_str().unwrap()])
        .unwrap();
    scene.lab.start_agent(NODE).unwrap();
    by(scene, cluster, "through an exit", "REFUSED");
    let apply = |lines: &str| scene.lab.apply_yaml(&by_uplink(lines)).unwrap();
    apply("defaultAction: Allow");
    by(scene, cluster, "by the uplink", &node[0].to_string());

    // Its answers open what a rule of names allows, with the node's address, and nothing else.
    apply(
        "defaultAction: Deny\n  dns: {mode: Filter}\n  rules: [{name: apis, action: Allow, \
         to: [{fqdn: '*.allowed.world.test'}], ports: [{protocol: TCP, port: 7}]}]",
    );
    by(scene, cluster, "no rule allows the name", "NXDOMAIN");
    let [four, other] = [own(&scene.web, 7)[0], second(&scene.web, 7)[0]];
    scene.settles("before any answer", four, "tcp", None);
    let (program, name) = (lab_program(), name_of(four.ip()));
    let asked = [&*program, "resolve", "--server", "10.96.0.53", &name];
    let told = scene.lab.exec_ok(WEB, &asked).unwrap();
    assert_eq!(told.trim(), four.ip().to_string());
    let seen = node[0].to_string();
    scene.settles("what an answer named", four, "tcp", Some(&seen));
    scene.settles("what no answer named", other, "tcp", None);
}

#[test]
fn nothing_leaves_by_the_uplink_when_nobody_renews_the_lease_and_no_pod_starts_without_an_agent() {
    let lab = TestLab::up(&UpOptions {
        validity: SignedDuration::from_secs(12),
        refresh: SignedDuration::from_secs(4),
        ..UpOptions::default()
    })
    .unwrap();
    lab.apply_yaml(&by_uplink("defaultAction: Allow")).unwrap();
    let sender = |name: &str| {
        let pod = PodOptions::on(NODE).label("app", "crawler");
        lab.sender(&format!("crawlers/{name}"), pod).unwrap()
    };
    let first = sender("first");
    first
        .await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)
        .unwrap();
    lab.kill("agent-n1").unwrap();
    let silent = lab.await_silence(&first).unwrap();
    lab.await_attempts(&first, silent).unwrap();
    let second = std::thread::scope(|scope| {
        let starting = scope.spawn(|| sender("second"));
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            assert!(
                !starting.is_finished(),
                "a pod started on a node that cannot hold it"
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
        lab.start_agent(NODE).unwrap();
        starting.join().unwrap()
    });
    for pod in [&first, &second] {
        pod.await_answers(&FLOWS, Timestamp::now(), WAIT_DEADLINE)
            .unwrap();
    }
    wait_until(WAIT_DEADLINE, "a scope that is enforced", || {
        let report = lab.report_status(NODE).unwrap_or_default();
        Ok((report["scopes"][0]["state"] == "Enforcing").then_some(()))
    })
    .unwrap();
    assert_eq!(lab.packets().unwrap().faults(), Vec::<String>::new());
}
