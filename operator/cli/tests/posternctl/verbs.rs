//! The verbs as people and programs call them.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::folder::Lab;

pub(crate) fn posternctl(lab: &Lab, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_posternctl"))
        .args(arguments)
        .current_dir(lab.path(""))
        .output()
        .expect("the program runs")
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) fn ends(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
}

pub(crate) const NOW: &str = "2026-11-23T04:00:00Z";

/// A lab whose nodes have reported, with keys and one compile into `out`.
fn compiled() -> Lab {
    let lab = Lab::new();
    ends(&posternctl(&lab, &["keygen", "keys"]), 0);
    lab.report_keys();
    let compile = [
        "compile",
        "-f",
        "manifests",
        "--reports",
        "reports",
        "--key",
        "keys/signing.pem",
        "--out",
        "out",
        "--now",
        NOW,
        "--state",
        "state.json",
        "-o",
        "json",
    ];
    let output = posternctl(&lab, &compile);
    ends(&output, 0);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(said["nodes"].as_array().map(Vec::len), Some(2));
    lab
}

fn verify(lab: &Lab, file: &str, more: &[&str]) -> Output {
    let mut arguments = vec!["verify", file, "--trust", "keys/trust.pem", "--now", NOW];
    arguments.extend(more);
    posternctl(lab, &arguments)
}

#[test]
fn a_compiled_envelope_verifies_and_a_changed_one_does_not() {
    let lab = compiled();
    let file = "out/worker/intent.dsse.json";
    ends(
        &verify(
            &lab,
            file,
            &["--node-name", "worker", "--node-uid", "uid-worker"],
        ),
        0,
    );
    let other = verify(&lab, file, &["--node-name", "gw"]);
    ends(&other, 4);
    assert!(text(&other).contains("WrongNode"), "{}", text(&other));
    let json = fs::read_to_string(lab.path(file)).expect("an envelope");
    let mut envelope: Value = serde_json::from_str(&json).expect("JSON");
    envelope["payload"] =
        Value::String("AAAA".to_owned() + &envelope["payload"].as_str().expect("text")[4..]);
    lab.write("changed.json", &envelope.to_string());
    let changed = verify(
        &lab,
        "changed.json",
        &[
            "-o",
            "json",
            "--node-name",
            "worker",
            "--node-uid",
            "uid-worker",
        ],
    );
    ends(&changed, 4);
}

#[test]
fn previous_envelopes_keep_what_did_not_change() {
    let lab = compiled();
    let again = posternctl(
        &lab,
        &[
            "compile",
            "-f",
            "manifests",
            "--reports",
            "reports",
            "--previous",
            "out",
            "--trust",
            "keys/trust.pem",
            "--now",
            NOW,
            "--state",
            "state.json",
            "-o",
            "json",
        ],
    );
    let said: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    let outcomes: Vec<_> = said["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| &node["outcome"])
        .collect();
    assert_eq!(outcomes, ["Keep", "Keep"]);
}

#[test]
fn a_pod_and_a_policy_are_explained() {
    let lab = compiled();
    let inputs = ["-f", "manifests", "--reports", "reports", "--now", NOW];
    let explain =
        |what: [&str; 2]| posternctl(&lab, &[&["explain"], &what[..], &inputs[..]].concat());
    let pod = explain(["pod", "crawlers/crawl-w"]);
    ends(&pod, 0);
    assert!(
        text(&pod).contains("leaves by the tunnel to exit eu"),
        "{}",
        text(&pod)
    );
    let policy = explain(["policy", "crawlers/crawler"]);
    ends(&policy, 0);
    assert!(
        text(&policy).contains("leaves by exit eu"),
        "{}",
        text(&policy)
    );
    ends(&explain(["pod", "crawlers/nobody"]), 1);
}

#[test]
fn a_key_is_never_written_over() {
    let lab = Lab::new();
    ends(&posternctl(&lab, &["keygen", "keys"]), 0);
    let before = fs::read(lab.path("keys/signing.pem")).expect("a key");
    ends(&posternctl(&lab, &["keygen", "keys"]), 1);
    assert_eq!(
        fs::read(lab.path("keys/signing.pem")).expect("a key"),
        before
    );
}

#[test]
fn a_signing_key_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    ends(&posternctl(&lab, &["keygen", "keys"]), 0);
    let mode = fs::metadata(lab.path("keys/signing.pem"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// `approve` in the publisher's files.
fn approve(lab: &Lab, arguments: &[&str]) -> Output {
    let files = ["--verdicts", "verdicts.json"];
    posternctl(lab, &[&["approve"], arguments, &files].concat())
}

#[test]
fn what_waits_is_listed_and_approved_by_name() {
    let lab = Lab::new();
    lab.report_keys();
    lab.report("worker", Some(crate::folder::KEYS[1].1), 1_795_000_000_000);
    assert_eq!(lab.publish().restored.len(), 1);
    let listed = approve(&lab, &[]);
    ends(&listed, 0);
    assert!(text(&listed).contains("Restored"), "{}", text(&listed));
    let listed = approve(&lab, &["-o", "json"]);
    let said: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(said["held"][0]["subject"]["node"], "worker");
    let unknown = approve(&lab, &["node", "gw"]);
    ends(&unknown, 1);
    assert!(
        text(&unknown).contains("what waits: node worker"),
        "{}",
        text(&unknown)
    );
    let tried = approve(&lab, &["node", "worker", "--dry-run"]);
    ends(&tried, 0);
    assert!(
        text(&tried).contains("would be approved"),
        "{}",
        text(&tried)
    );
    assert!(!lab.path("approvals.yaml").exists());
    ends(&approve(&lab, &["node", "worker"]), 0);
    let before = fs::read(lab.path("approvals.yaml")).expect("approvals");
    let again = approve(&lab, &["node", "worker"]);
    assert!(
        text(&again).contains("nothing was changed"),
        "{}",
        text(&again)
    );
    assert_eq!(
        fs::read(lab.path("approvals.yaml")).expect("approvals"),
        before
    );
    assert!(lab.publish().restored.is_empty());
}

#[test]
fn everything_that_waits_for_a_cause_is_approved_item_by_item() {
    let lab = Lab::new();
    lab.report_keys();
    for (node, key) in crate::folder::KEYS {
        lab.report(node, Some(key), 1_795_000_000_000);
    }
    let waiting = lab.publish().restored.len();
    assert!(waiting > 1, "{waiting}");
    let other = approve(&lab, &["--all", "--cause", "PolicyDeleted"]);
    ends(&other, 1);
    assert!(text(&other).contains("Restored"), "{}", text(&other));
    ends(&approve(&lab, &["--all"]), 2);
    ends(&approve(&lab, &["--dry-run"]), 2);
    ends(
        &approve(&lab, &["node", "gw", "--all", "--cause", "Restored"]),
        2,
    );
    let done = approve(&lab, &["--all", "--cause", "Restored"]);
    ends(&done, 0);
    assert_eq!(text(&done).matches("approved: node").count(), waiting);
    assert!(lab.publish().restored.is_empty());
}

#[test]
fn files_and_a_cluster_are_not_mixed_and_both_ways_of_writing_it_are_shown() {
    let lab = Lab::new();
    let mixed = approve(&lab, &["node", "worker", "--context", "lab"]);
    ends(&mixed, 2);
    for way in ["--verdicts FILE [--file FILE]", "[--kubeconfig FILE]"] {
        assert!(text(&mixed).contains(way), "{}", text(&mixed));
    }
    ends(&posternctl(&lab, &["approve", "node"]), 2);
    ends(&posternctl(&lab, &["approve", "pod", "a/b"]), 2);
}

#[test]
fn an_explanation_takes_what_is_for_files_together_with_manifests_only() {
    let lab = Lab::new();
    for more in [
        ["--reports", "reports"],
        ["--now", NOW],
        ["--previous", "out"],
        ["--pod-cidrs", "10.244.0.0/16"],
        ["--validity", "24h"],
    ] {
        let refused = posternctl(&lab, &[&["explain", "pod", "a/b"], &more[..]].concat());
        ends(&refused, 2);
        assert!(text(&refused).contains("--manifests"), "{}", text(&refused));
    }
    let help = text(&posternctl(&lab, &["explain", "pod", "--help"]));
    let (verb, arguments) = help.split_once("Usage:").expect("a usage");
    assert!(verb.contains("Without --manifests a cluster"), "{help}");
    assert!(!arguments.contains("Without --manifests"), "{help}");
}

#[test]
fn without_a_cluster_it_is_said_how_one_is_named() {
    let lab = Lab::new();
    let asked = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_posternctl"))
            .args(arguments)
            .env_clear()
            .env("HOME", lab.path("nobody"))
            .output()
            .expect("the program runs")
    };
    let nobody = asked(&["status"]);
    ends(&nobody, 1);
    assert!(
        text(&nobody).contains("--kubeconfig FILE"),
        "{}",
        text(&nobody)
    );
    lab.write("kubeconfig", "apiVersion: v1\nkind: Config\n");
    let file = lab.path("kubeconfig").display().to_string();
    let unknown = asked(&["approve", "--kubeconfig", &file, "--context", "there"]);
    ends(&unknown, 1);
    assert!(
        text(&unknown).contains("context \"there\" cannot be used"),
        "{}",
        text(&unknown)
    );
}

#[test]
fn a_document_is_signed_as_it_is() {
    let lab = compiled();
    lab.write("keys.json", r#"{"version":1,"keys":[]}"#);
    let signed = posternctl(
        &lab,
        &[
            "sign",
            "keys.json",
            "--kind",
            "keyset",
            "--key",
            "keys/signing.pem",
        ],
    );
    ends(&signed, 0);
    lab.write("keys.dsse.json", &text(&signed));
    let refused = verify(&lab, "keys.dsse.json", &["--kind", "keyset"]);
    ends(&refused, 4);
    assert!(text(&refused).contains("EmptyKeySet"), "{}", text(&refused));
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    ends(&posternctl(&Lab::new(), &["compile"]), 2);
}
