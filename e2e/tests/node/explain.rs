//! A node's explanation of a packet, compared with a real connection of the pod.

use std::net::SocketAddr;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use postern_e2e::lab::traffic::names::name_of;
use postern_e2e::lab::{Binaries, Exec, PodOptions};
use postern_e2e::proof::harness::{TestLab, WAIT_DEADLINE, wait_until};
use serde_json::Value;

use crate::holes::serving;
use crate::names::{Names, named};
use crate::terms::{own, second};

const NODE: &str = "n1";

/// What a program answers on the node, with its exit code.
fn asked(lab: &TestLab, program: &str, pod: &str, packet: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(Binaries::locate().unwrap().path(program));
    let words: &[&str] = match program {
        "posternctl" => &["explain", "pod"],
        _ => &["explain"],
    };
    command.args(words).arg(pod).args(packet);
    command.arg("--run-dir").arg(lab.run_dir(NODE));
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// The answer about a packet, from both programs the same.
pub(crate) fn explained(lab: &TestLab, pod: &str, packet: &[&str]) -> Value {
    let packet = [packet, &["-o", "json"]].concat();
    let answer = |program| {
        let (code, said) = asked(lab, program, pod, &packet);
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        let wanted = if answer["verdict"] == "Allowed" { 0 } else { 3 };
        assert_eq!(code, Some(wanted), "{answer}");
        answer
    };
    // Between two questions the node may take another intent.
    let same = wait_until(WAIT_DEADLINE, "the same answer of both programs", || {
        let found = [answer("postern-agent"), answer("posternctl")];
        let [one, other] = found.clone().map(without_what_moves);
        let [found, _] = found;
        Ok((one == other).then_some(found))
    });
    same.unwrap()
}

/// Without what another reading of the kernel changes.
fn without_what_moves(mut answer: Value) -> Value {
    for moving in ["verifiedAt", "policy", "path"] {
        answer.as_object_mut().unwrap().remove(moving);
    }
    for grant in answer["grants"].as_array_mut().unwrap() {
        grant.as_object_mut().unwrap().remove("until");
    }
    answer
}

/// The verdict about a connection by TCP, which is what becomes of a real one.
fn agreed(names: &Names, who: &str, to: SocketAddr, verdict: &str) -> Value {
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let found = explained(&names.scene.lab, who, &["--to", &address, "--port", &port]);
    assert_eq!(found["verdict"], verdict, "{found:#}");
    let answered = names.connects(Exec::Pod(who), to).is_some();
    assert_eq!(answered, verdict == "Allowed", "{found:#}");
    found
}

/// A node's explanation of a connection to the answer for a name.
fn by_name(names: &Names, name: &str) -> Value {
    explained(
        &names.scene.lab,
        "crawlers/web",
        &["--to", name, "--port", "7"],
    )
}

fn texts<'a>(found: &'a Value, pointers: &[&str]) -> Vec<&'a str> {
    let text = |pointer: &&str| found.pointer(pointer).and_then(Value::as_str);
    pointers.iter().map(|one| text(one).unwrap_or("")).collect()
}

/// No name has granted the address yet, and an answer would.
fn not_asked_yet(names: &Names, four: SocketAddr, name: &str) {
    let found = agreed(names, "crawlers/web", four, "Denied");
    assert_eq!(
        texts(&found, &["/cause/type", "/cause/policy", "/policy/state"]),
        ["DefaultAction", "crawlers/crawler", "Enforcing"]
    );
    assert_eq!(
        found["granted"],
        format!("no name grants the pod {}", four.ip())
    );
    let found = by_name(names, name);
    assert_eq!(
        texts(&found, &["/verdict", "/cause/rule", "/exit", "/gateway"]),
        ["Allowed", "apis", "eu", "gw-1"]
    );
    assert_eq!(
        found["granted"],
        format!("this agent remembers no answer for {name} that grants the pod an address now")
    );
    let refused = by_name(names, "secret.world.test");
    assert_eq!(refused["verdict"], "Denied", "{refused:#}");
}

/// Ports that the rule of the name does not have, and the one that goes to the forwarder.
fn other_ports(names: &Names, four: SocketAddr) {
    let scene = &names.scene;
    for port in [80, 53] {
        let (code, told) = asked(
            &scene.lab,
            "postern-agent",
            "crawlers/web",
            &["--to", &four.ip().to_string(), "--port", &port.to_string()],
        );
        let words = if port == 53 {
            "DNS forwarder"
        } else {
            "defaultAction"
        };
        assert_eq!(code, Some(if port == 53 { 0 } else { 3 }), "{told}");
        assert!(told.contains(words), "{told}");
    }
    agreed(
        names,
        "crawlers/web",
        SocketAddr::new(four.ip(), 80),
        "Denied",
    );
}

#[test]
fn a_node_explains_connections_as_its_kernel_decides_and_says_which_name_opened_an_address_and_until_when()
 {
    let names = Names::up();
    let scene = &names.scene;
    scene.apply(&named(names.resolver, "{fqdn: '*.allowed.world.test'}"));
    scene.refuses("before any answer", own(&scene.web, 7), "tcp");
    scene.in_force();
    let [four, six] = own(&scene.web, 7);
    let name = name_of(four.ip());

    not_asked_yet(&names, four, &name);

    // The answer opens it, by its name and for its time.
    for to in [four, six] {
        let before = Timestamp::now();
        names.resolves(to.ip());
        let found = agreed(&names, "crawlers/web", to, "Allowed");
        assert_eq!(
            texts(&found, &["/result", "/cause/rule", "/exit", "/gateway"]),
            ["EntersTunnel", "apis", "eu", "gw-1"]
        );
        let grants = found["grants"].as_array().unwrap();
        assert_eq!(grants.len(), 1, "{found:#}");
        assert_eq!(grants[0]["names"], serde_json::json!([name_of(to.ip())]));
        let until: Timestamp = grants[0]["until"].as_str().unwrap().parse().unwrap();
        let lasts = until.duration_since(before);
        assert!(
            lasts > SignedDuration::from_secs(60) && lasts < SignedDuration::from_secs(130),
            "{lasts:?}"
        );
    }
    let found = by_name(&names, &name.to_uppercase());
    assert_eq!(
        texts(&found, &["/packet/destination", "/verdict", "/name"]),
        [&four.ip().to_string(), "Allowed", &name]
    );
    other_ports(&names, four);

    // The kernel keeps the grant while the agent is away; the names are the agent's own.
    let packet = ["--to", &four.ip().to_string(), "--port", "7"];
    scene.lab.kill("agent-n1").unwrap();
    scene.lab.start_agent(NODE).unwrap();
    wait_until(WAIT_DEADLINE, "an agent that has read its kernel", || {
        let (code, _) = asked(&scene.lab, "posternctl", "crawlers/web", &packet);
        Ok((code == Some(0)).then_some(()))
    })
    .unwrap();
    let found = agreed(&names, "crawlers/web", four, "Allowed");
    assert_eq!(found["grants"][0]["names"], serde_json::json!([]));
    let found = by_name(&names, &name);
    assert!(
        found["granted"]
            .as_str()
            .unwrap()
            .contains("remembers no answer")
    );

    names.end_grants();
    scene.refuses("the answer is no longer valid", own(&scene.web, 7), "tcp");
    let found = agreed(&names, "crawlers/web", four, "Denied");
    assert_eq!(found["grants"], serde_json::json!([]));
    assert_eq!(
        found["granted"],
        format!("no name grants the pod {}", four.ip())
    );
    scene.nothing_leaked_but(&[]);
}

#[test]
fn a_node_names_the_rule_of_an_administrator_with_its_counter_and_knows_pods_without_a_policy() {
    let names = Names::up();
    let scene = &names.scene;
    let free = serving(&scene.lab, "office/desk", PodOptions::on(NODE));
    let [four, _] = second(&scene.web, 7);
    let company = format!(
        "apiVersion: postern.dev/v1alpha1\nkind: ClusterEgressPolicy\nmetadata: {{name: company}}\nspec:\n  tier: Admin\n  \
         priority: 10\n  subject: {{namespaces: {{}}}}\n  rules: [{{name: never, action: Deny, to: [{{cidr: {}/32}}]}}]\n---\n",
        four.ip()
    );
    scene.lab.apply_yaml(&company).unwrap();
    scene.settles("what administrators deny", four, "tcp", None);
    scene.in_force();
    let found = agreed(&names, "crawlers/web", four, "Denied");
    assert_eq!(
        texts(&found, &["/cause/tier", "/cause/policy", "/cause/rule"]),
        ["Admin", "company", "never"]
    );
    let denied = &found["policy"]["denied"][0];
    assert_eq!(texts(denied, &["/policy", "/rule"]), ["company", "never"]);
    let counted = wait_until(
        WAIT_DEADLINE,
        "the packets of the refused connections",
        || {
            let found = explained(
                &scene.lab,
                "crawlers/web",
                &["--to", "192.0.2.1", "--port", "7"],
            );
            Ok(found["policy"]["denied"][0]["packets"]
                .as_u64()
                .filter(|packets| *packets > 0))
        },
    );
    counted.unwrap();
    let [first, _] = own(&scene.web, 7);
    let found = agreed(&names, "crawlers/web", first, "Allowed");
    assert_eq!(found["cause"]["type"], "DefaultAction");

    let [outside, _] = own(&free, 7);
    let found = agreed(&names, "office/desk", outside, "Allowed");
    assert_eq!(
        texts(&found, &["/result", "/cause/type"]),
        ["LeavesByUplink", "Released"]
    );
    assert_eq!(found["policy"], Value::Null);
    let (code, told) = asked(
        &scene.lab,
        "posternctl",
        "office/nobody",
        &["--to", "192.0.2.1", "--port", "7"],
    );
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("has no pod office/nobody"), "{told}");
    // A node answers while no operator and no API server do; an agent that is away does not.
    scene.lab.kill("agent-n1").unwrap();
    let (code, told) = asked(
        &scene.lab,
        "posternctl",
        "crawlers/web",
        &["--to", "192.0.2.1", "--port", "7"],
    );
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("is it running on this node?"), "{told}");
    scene.lab.start_agent(NODE).unwrap();
    let all = own(&free, 7).map(|to| to.ip());
    scene.nothing_leaked_but(&all);
}
