//! `audit`: the decisions about connections and names of a pod are in the agent's log, each with what decided, and no more of them
//! than a node can bear; they decide nothing.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::proof::harness::{WAIT_DEADLINE, wait_until};
use serde_json::{Value, json};

use crate::holes::{Talk, WEB, lab_program};
use crate::terms::{Scene, own, second};

const NODE: &str = "n1";

/// What the agent of the client recorded since its log had so many lines.
fn recorded(scene: &Scene, since: usize) -> Vec<Value> {
    let text = fs::read_to_string(scene.lab.log("agent-n1")).unwrap();
    let lines = text.lines().skip(since);
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "postern::decision")
        .collect()
}

fn lines(scene: &Scene) -> usize {
    let text = fs::read_to_string(scene.lab.log("agent-n1")).unwrap();
    text.lines().count()
}

/// Waits for a record that has all of these fields.
fn awaits(scene: &Scene, since: usize, what: &str, wanted: &Value) -> Value {
    let wanted = wanted.as_object().unwrap();
    let is_it = |record: &Value| wanted.iter().all(|(key, value)| record[key] == *value);
    let found = wait_until(WAIT_DEADLINE, what, || {
        Ok(recorded(scene, since).into_iter().find(is_it))
    });
    found.unwrap_or_else(|error| panic!("{error}: {:#?}", recorded(scene, since)))
}

/// A policy that allows one destination by a rule, denies another one by a rule, and the others by default.
fn audited(scene: &Scene, log: &str, enforcement: &str) -> usize {
    let [first4, first6] = [scene.web.world[0], scene.web.world[1]];
    let second4 = scene.web.world[2];
    scene.apply(&format!(
        "defaultAction: Deny\n  enforcement: {enforcement}\n  audit: {{log: {log}}}\n  rules: [{{name: shop, action: Allow, \
         to: [{{cidr: {first4}/32}}, {{cidr: '{first6}/128'}}]}}, {{name: tracker, action: Deny, to: [{{cidr: {second4}/32}}]}}]"
    ));
    let audit = format!("audit: {log}");
    scene.published(&[&audit, &format!("enforcement: {enforcement}"), "tracker"]);
    lines(scene)
}

#[test]
fn each_decision_about_a_connection_is_recorded_with_what_decided_and_none_that_the_policy_does_not_ask_for()
 {
    let scene = Scene::up();
    let about = |to: SocketAddr, protocol: u8| json!({"destination": to.ip().to_string(), "port": to.port(), "protocol": protocol});
    let with = |mut record: Value, more: Value| {
        let fields = more.as_object().unwrap().clone();
        record.as_object_mut().unwrap().extend(fields);
        record
    };
    let since = audited(&scene, "None", "Enforce");
    scene.answers("a rule allows", own(&scene.web, 7), "tcp");
    scene.refuses("a rule denies", second(&scene.web, 7), "tcp");

    let talk = Talk::converse(&scene.lab, &scene.web, 0);
    let denied = audited(&scene, "Denied", "Enforce");
    assert_eq!(recorded(&scene, since), Vec::<Value>::new());
    scene.answers("a rule allows", own(&scene.web, 7), "tcp");
    scene.refuses("a rule denies", second(&scene.web, 7), "tcp");
    let [tracker, other] = second(&scene.web, 7);
    let refused = awaits(
        &scene,
        denied,
        "the rule that denies",
        &with(
            about(tracker, 6),
            json!({"verdict": "Denied", "reason": "Rule", "rule": "tracker"}),
        ),
    );
    let wanted = json!({"namespace": "crawlers", "pod": "web", "policy": "crawler", "bytes": 60});
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(refused[key], *value, "{refused}");
    }
    assert_eq!(refused["source"], scene.web.addresses[0].to_string());
    let by_default = json!({"verdict": "Denied", "reason": "DefaultAction"});
    awaits(
        &scene,
        denied,
        "the default action",
        &with(about(other, 6), by_default),
    );
    let metadata = "169.254.169.254:80".parse().unwrap();
    scene.settles("special use", metadata, "tcp", None);
    let special = json!({"verdict": "Denied", "reason": "SpecialUse"});
    awaits(
        &scene,
        denied,
        "special use",
        &with(about(metadata, 6), special),
    );
    let verdicts = recorded(&scene, denied);
    assert!(verdicts.iter().all(|record| record["verdict"] == "Denied"));

    let all = audited(&scene, "All", "Enforce");
    let mut talk = talk;
    talk.goes_on("while more is recorded");
    scene.answers("a rule allows", own(&scene.web, 7), "udp");
    for to in own(&scene.web, 7) {
        let shop = json!({"verdict": "Allowed", "reason": "Rule", "rule": "shop"});
        awaits(
            &scene,
            all,
            "the rule that allows",
            &with(about(to, 17), shop),
        );
    }

    let observed = audited(&scene, "Denied", "Observe");
    scene.answers("a rule would deny", second(&scene.web, 7), "tcp");
    let would = json!({"verdict": "WouldDeny", "reason": "Rule", "rule": "tracker"});
    awaits(
        &scene,
        observed,
        "the rule that would deny",
        &with(about(tracker, 6), would),
    );
    scene.nothing_leaked();
}

#[test]
fn a_flood_of_refused_packets_is_recorded_in_part_and_counted_and_names_are_recorded_too() {
    let scene = Scene::up();
    let since = audited(&scene, "Denied", "Enforce");
    let to = second(&scene.web, 9)[0];
    let namespace = scene.lab.namespace(&scene.web.sandbox());
    let begun = Instant::now();
    let sent: usize = namespace
        .run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let sent = (0..3_000).filter(|_| socket.send_to(b"more", to).is_ok());
            Ok(sent.count())
        })
        .unwrap();
    assert_eq!(sent, 3_000);
    let took = begun.elapsed();
    let of_flood = |record: &Value| record["port"] == 9;
    let count = || {
        recorded(&scene, since)
            .iter()
            .filter(|one| of_flood(one))
            .count()
    };
    wait_until(WAIT_DEADLINE, "records of the flood", || {
        Ok((count() >= 200).then_some(()))
    })
    .unwrap();
    let seconds = usize::try_from(took.as_secs()).unwrap() + 1;
    let most = 200 + 100 * seconds;
    assert!(count() <= most, "{} records in {took:?}", count());
    let counter =
        "nft -j list counter inet postern not_recorded | jq '.nftables[1].counter.packets'";
    wait_until(WAIT_DEADLINE, "a record or a count of each packet", || {
        let left_out: usize = scene.lab.shell(NODE, counter)?.trim().parse().unwrap();
        // The kernel lets a few more through than the agent writes of one policy.
        let rate = "postern_agent_lost_decision_records_total{reason=\"rate\"}";
        let rate = usize::try_from(scene.lab.agent_metric(NODE, rate)?).unwrap();
        Ok((left_out > 0 && left_out + rate + count() == sent).then_some(()))
    })
    .unwrap();

    let resolver = scene.web.world[0];
    scene.apply(&format!(
        "defaultAction: Deny\n  audit: {{log: All}}\n  dns: {{mode: Filter, upstreams: ['{resolver}']}}\n  rules: [{{name: names, \
         action: Allow, to: [{{fqdn: {}}}]}}]",
        name_of(resolver)
    ));
    scene.published(&["audit: All", "mode: Filter"]);
    let since = lines(&scene);
    let asks = |name: &str| {
        let (program, server) = (lab_program(), resolver.to_string());
        let args = ["resolve", "--server", &server, name];
        scene
            .lab
            .exec(WEB, &[&[&*program][..], &args].concat())
            .unwrap();
    };
    asks(&name_of(resolver));
    asks("Never.example.org");
    let name = name_of(resolver);
    let allowed = json!({"verdict": "Allowed", "reason": "exit", "name": name, "pod": "web"});
    awaits(&scene, since, "the allowed name", &allowed);
    let denied =
        json!({"verdict": "Denied", "reason": "name-refused", "name": "never.example.org"});
    awaits(&scene, since, "the refused name", &denied);

    // A new agent goes on with the records of what the kernel kept.
    scene.lab.stop("agent-n1").unwrap();
    scene.refuses(
        "a destination that no answer gave",
        second(&scene.web, 7),
        "tcp",
    );
    scene.lab.start_agent(NODE).unwrap();
    let since = lines(&scene);
    wait_until(WAIT_DEADLINE, "a record after the restart", || {
        scene.refuses("no answer gave it", second(&scene.web, 7), "tcp");
        let is_denial = |record: &Value| record["reason"] == "DefaultAction";
        Ok(recorded(&scene, since).iter().any(is_denial).then_some(()))
    })
    .unwrap();
    scene.nothing_leaked();
}
