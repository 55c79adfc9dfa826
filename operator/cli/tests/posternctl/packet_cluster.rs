//! `posternctl explain pod --to` on a cluster: by what is published there, with the rights of whoever asks.

use std::fs;

use postern_intent::published::read_intent;
use postern_intent::sign::sign_intent;
use postern_intent::{NodeDocument, Serial};
use serde_json::{Value, json};

use crate::folder::Lab;
use crate::packet::lab;
use crate::served::{Answers, forbidden, nothing, serve};
use crate::verbs::{ends, posternctl, text};

const POD: &str = "/api/v1/namespaces/crawlers/pods/both";
const INTENTS: &str = "/apis/postern.dev/v1alpha1/nodeintents";

fn published(lab: &Lab, name: &str, file: &str) -> (String, (u16, Value)) {
    let envelope = fs::read_to_string(lab.path(&format!("intents/{file}"))).expect("an envelope");
    let envelope: Value = serde_json::from_str(&envelope).expect("JSON");
    let object = json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeIntent", "metadata": {"name": name},
        "spec": {"nodeUID": "uid", "serial": 1, "envelope": envelope},
    });
    (format!("{INTENTS}/{name}"), (200, object))
}

/// A cluster in which everything that the lab compiles is published. Documents are in force for a day from now on.
fn answers(lab: &mut Lab) -> Answers {
    lab.now = jiff::Timestamp::now();
    lab.publish();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "crawlers", "name": "both", "uid": "pod-both", "labels": {"app": "crawler"},
        },
        "spec": {"nodeName": "worker", "containers": []},
        "status": {
            "phase": "Running", "podIP": "10.244.2.8",
            "podIPs": [{"ip": "10.244.2.8"}, {"ip": "fd00:10:244:2::8"}],
        },
    });
    [
        (POD.to_owned(), (200, pod)),
        published(lab, "worker", "worker/intent.dsse.json"),
        published(lab, "gw", "gw/intent.dsse.json"),
        published(lab, "cluster.postern.dev", "cluster.dsse.json"),
    ]
    .into()
}

fn asked(lab: &Lab, answers: Answers, packet: &str) -> std::process::Output {
    let kubeconfig = serve(lab, answers);
    let packet: Vec<&str> = packet.split_whitespace().collect();
    let explain = [
        "explain",
        "pod",
        "crawlers/both",
        "--kubeconfig",
        &kubeconfig,
        "-o",
        "json",
    ];
    posternctl(lab, &[&explain[..], &["--to"], &packet].concat())
}

fn said(lab: &Lab, answers: Answers, packet: &str, code: i32) -> Value {
    let output = asked(lab, answers, packet);
    ends(&output, code);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_is_published_in_a_cluster_judges_a_packet_as_the_manifests_do() {
    let mut lab = lab();
    let answers = answers(&mut lab);
    let found = said(&lab, answers.clone(), "203.0.113.5 --port 8080", 0);
    let way = [
        &found["result"],
        &found["exit"],
        &found["gateway"],
        &found["source"],
    ];
    assert_eq!(
        way,
        ["LeavesByExit", "eu", "gw", "198.51.100.10"],
        "{found}"
    );
    assert_eq!(found["cause"]["rule"], "web");
    assert_eq!(found["nodes"][0]["serial"], lab.body("worker").serial.0);
    assert_eq!(
        found["nodes"][1]["clusterSerial"],
        lab.body("gw").cluster_serial.0
    );
    let assumed = found["assumed"].to_string();
    assert!(assumed.contains("looks at signatures"), "{assumed}");
    let found = said(&lab, answers, "203.0.113.66 --port 8080", 3);
    assert_eq!(
        (&found["result"], &found["cause"]["rule"]),
        (&json!("Refused"), &json!("bad"))
    );
}

#[test]
fn who_may_not_read_what_is_published_is_told_the_right_the_role_and_the_way_without() {
    let mut lab = lab();
    let answers = answers(&mut lab);
    for (name, missing) in [
        ("worker", "get nodeintents.postern.dev worker"),
        (
            "cluster.postern.dev",
            "get nodeintents.postern.dev cluster.postern.dev",
        ),
    ] {
        let mut answers = answers.clone();
        answers.insert(format!("{INTENTS}/{name}"), forbidden());
        let output = asked(&lab, answers, "203.0.113.5 --port 8080");
        ends(&output, 1);
        let object = format!("NodeIntent {name}");
        for words in [
            missing,
            "ClusterRole `postern-approver`",
            "--manifests",
            &object,
        ] {
            assert!(text(&output).contains(words), "{}", text(&output));
        }
        assert!(output.stdout.is_empty(), "{}", text(&output));
    }
}

/// The object with another document in it.
fn changed(
    lab: &Lab,
    answer: &(u16, Value),
    node: &str,
    change: fn(&mut NodeDocument),
) -> (u16, Value) {
    let mut answer = answer.clone();
    let envelope = &mut answer.1["spec"]["envelope"];
    let before = serde_json::from_value(envelope.clone()).expect("an envelope");
    let mut document = read_intent(&before, &node.parse().expect("a name")).expect("a document");
    change(&mut document);
    let after = sign_intent(&document, &lab.options.signing_keys).expect("an envelope");
    *envelope = serde_json::to_value(after).expect("JSON");
    answer
}

#[test]
fn a_gateway_that_cannot_be_judged_leaves_the_answer_of_the_pods_node_and_says_why() {
    let mut lab = lab();
    let answers = answers(&mut lab);
    let gateway = format!("{INTENTS}/gw");
    let with = |change| changed(&lab, &answers[&gateway], "gw", change);
    let mut strange = answers[&gateway].clone();
    strange.1["spec"]["serial"] = json!("many");
    for (answer, words) in [
        (nothing(), "nothing is published for node gw"),
        (
            forbidden(),
            "NodeIntent gw cannot be read here; --manifests judges them by files instead: the right to get \
             nodeintents.postern.dev gw is missing",
        ),
        (strange, "NodeIntent gw is not understood"),
        (
            with(|document| document.version += 1),
            "the document in NodeIntent gw cannot be used",
        ),
        (
            with(|document| document.cluster_serial = Serial(1 << 60)),
            "the document of node gw cannot be joined with the cluster document",
        ),
        (
            answers[&format!("{INTENTS}/worker")].clone(),
            "refuses the document in NodeIntent gw",
        ),
    ] {
        let mut answers = answers.clone();
        answers.insert(gateway.clone(), answer);
        let found = said(&lab, answers, "203.0.113.5 --port 8080", 3);
        let way = [&found["result"], &found["exit"], &found["gateway"]];
        assert_eq!(way, ["NotKnown", "eu", "gw"], "{found}");
        assert_eq!(found["nodes"][0]["cause"]["rule"], "web", "{found}");
        assert_eq!(found["nodes"][1], Value::Null, "{found}");
        let error = found["gatewayError"].as_str().expect("a sentence");
        assert!(error.contains(words), "{words}: {error}");
        let summary = found["summary"].as_str().expect("a sentence");
        let told = format!("What gateway gw does with it is not known: {error}");
        assert!(summary.ends_with(&told), "{summary}");
    }
}

#[test]
fn what_gives_no_body_is_no_answer() {
    let mut lab = lab();
    let answers = answers(&mut lab);
    let intent = |name: &str| format!("{INTENTS}/{name}");
    let mut edited = answers[&intent("worker")].clone();
    edited.1["spec"]["envelope"]["payload"] = json!("AAAA");
    let mut foreign = answers[&intent("worker")].clone();
    foreign.1["spec"]["envelope"]["payloadType"] = json!("text/plain");
    let mut strange = answers[&intent("worker")].clone();
    strange.1["spec"]["serial"] = json!("many");
    for (name, answer, words) in [
        ("worker", nothing(), "nothing is published for node worker"),
        (
            "cluster.postern.dev",
            nothing(),
            "cannot be joined with the cluster document",
        ),
        (
            "worker",
            edited,
            "the document in NodeIntent worker cannot be used",
        ),
        (
            "worker",
            foreign,
            "the document in NodeIntent worker cannot be used",
        ),
        ("worker", strange, "NodeIntent worker is not understood"),
        (
            "worker",
            answers[&intent("gw")].clone(),
            "the agent of node worker refuses the document in NodeIntent worker",
        ),
    ] {
        let mut answers = answers.clone();
        answers.insert(intent(name), answer);
        let output = asked(&lab, answers, "203.0.113.5 --port 8080");
        ends(&output, 1);
        assert!(text(&output).contains(words), "{words}: {}", text(&output));
    }
}

#[test]
fn a_pod_of_the_host_network_and_one_without_a_node_send_no_packet_that_is_judged() {
    let mut lab = lab();
    let answers = answers(&mut lab);
    let edited = |edit: fn(&mut Value)| {
        let mut answers = answers.clone();
        let (_, pod) = answers.get_mut(POD).expect("a pod");
        edit(pod);
        answers
    };
    let host = edited(|pod| pod["spec"]["hostNetwork"] = json!(true));
    let waiting = edited(|pod| pod["spec"] = json!({"containers": []}));
    for (answers, words) in [
        (host, "uses the host network"),
        (waiting, "crawlers/both is bound to no node yet"),
    ] {
        let output = asked(&lab, answers, "203.0.113.5 --port 8080");
        ends(&output, 1);
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}

#[test]
fn a_pod_that_its_intent_does_not_list_is_held_though_another_one_had_its_address() {
    let mut lab = lab();
    let mut answers = answers(&mut lab);
    let (_, pod) = answers.get_mut(POD).expect("a pod");
    pod["metadata"]["uid"] = json!("pod-another");
    let found = said(&lab, answers.clone(), "203.0.113.5 --port 8080", 3);
    assert_eq!(found["cause"], json!({"type": "Held"}), "{found}");
    let assumed = found["assumed"].to_string();
    assert!(
        assumed.contains("the intent does not list the pod"),
        "{assumed}"
    );
    let inside = said(&lab, answers, "10.244.1.7 --port 80", 0);
    assert_eq!(inside["result"], "StaysInCluster", "{inside}");
}
