//! `posternctl plan`: the difference that a change of the manifests would make.

use std::fs;

use serde_json::Value;

use crate::folder::Lab;
use crate::verbs::{NOW, ends, posternctl, text};

/// A lab with one compile into `out`.
fn compiled() -> Lab {
    let lab = Lab::new();
    ends(&posternctl(&lab, &["keygen", "keys"]), 0);
    lab.report_keys();
    let compile = ["--key", "keys/signing.pem", "--out", "out"];
    ends(
        &posternctl(&lab, &[&arguments("compile")[..], &compile].concat()),
        0,
    );
    lab
}

fn arguments(verb: &str) -> [&str; 7] {
    [
        verb,
        "-f",
        "manifests",
        "--reports",
        "reports",
        "--now",
        NOW,
    ]
}

const PREVIOUS: [&str; 4] = ["--previous", "out", "--trust", "keys/trust.pem"];

fn plan(lab: &Lab, more: &[&str]) -> std::process::Output {
    posternctl(lab, &[&arguments("plan")[..], more].concat())
}

fn lines(value: &Value, node: &str, section: &str, what: &str) -> Vec<String> {
    let differences = value["nodes"][node]["changes"][section].as_array();
    let lines = differences
        .into_iter()
        .flatten()
        .flat_map(|one| one[what].as_array().into_iter().flatten());
    lines
        .map(|line| line.as_str().expect("a line").to_owned())
        .collect()
}

#[test]
fn nothing_changes_where_nothing_did() {
    let signing = ["--previous", "out", "--key", "keys/signing.pem"];
    let output = plan(&compiled(), &signing);
    ends(&output, 0);
    assert_eq!(
        text(&output).trim(),
        "Node gw: nothing changes\nNode worker: nothing changes"
    );
}

#[test]
fn proofs_of_keys_are_checked_with_a_signing_key_and_a_plan_without_one_says_so() {
    let lab = compiled();
    let note = "proofs of keys are not checked without --key";
    let output = text(&plan(&lab, &PREVIOUS));
    assert!(output.trim().ends_with(note), "{output}");
    let report = |node: &str| -> Value {
        let text = fs::read_to_string(lab.path(&format!("reports/{node}.json"))).expect("a report");
        serde_json::from_str(&text).expect("JSON")
    };
    let (mut worker, other) = (report("worker"), report("gw"));
    worker["status"]["publicKeys"]["wireguardProofs"] =
        other["status"]["publicKeys"]["wireguardProofs"].clone();
    lab.write("reports/worker.json", &worker.to_string());
    let tunnels = |more: &[&str]| {
        let output = plan(&lab, &[more, &["-o", "json"]].concat());
        let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let added = lines(&said, "worker", "wireGuard", "added");
        (added.len(), said["note"].clone())
    };
    let (unchecked, said) = tunnels(&[]);
    assert!(unchecked > 0 && said == note, "{unchecked} {said}");
    assert_eq!(tunnels(&["--key", "keys/signing.pem"]), (0, Value::Null));
}

#[test]
fn a_rule_that_is_added_is_shown_where_it_lands_and_nowhere_else() {
    let lab = compiled();
    let file = lab.path("manifests/20-crawlers.yaml");
    let policy = fs::read_to_string(&file).expect("a policy");
    let more = "rules:\n  - {name: more, action: Allow, to: [{cidr: 203.0.113.0/24}]}\n";
    assert!(policy.contains("rules:\n"));
    fs::write(&file, policy.replace("rules:\n", more)).expect("a file");
    let output = plan(
        &lab,
        &[&PREVIOUS[..], &["--node", "worker", "-o", "json"]].concat(),
    );
    ends(&output, 0);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let added = lines(&said, "worker", "nft", "added");
    assert!(
        added.iter().any(|line| line.contains("203.0.113.0")),
        "{said}"
    );
    for section in ["route", "wireGuard", "xfrm"] {
        assert!(said["nodes"]["worker"]["changes"].get(section).is_none());
    }
    assert!(said["nodes"].get("gw").is_none());
    let shown = text(&plan(&lab, &PREVIOUS));
    assert!(
        shown.contains("Node gw: ") && shown.contains("    + ") && shown.contains("Nft"),
        "{shown}"
    );
}

#[test]
fn a_policy_that_goes_takes_tunnel_routes_and_names_with_it() {
    let lab = compiled();
    fs::remove_file(lab.path("manifests/20-crawlers.yaml")).expect("a policy");
    let output = plan(&lab, &[&PREVIOUS[..], &["-o", "json"]].concat());
    ends(&output, 0);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (section, part) in [
        ("pods", "crawlers/crawler@eu"),
        ("route", "dev pst-c-eu"),
        ("wireGuard", "peer "),
        ("dns", "by eu (pst-c-eu)"),
        ("nft", "10.244.2.7"),
    ] {
        let removed = lines(&said, "worker", section, "removed");
        assert!(
            removed.iter().any(|line| line.contains(part)),
            "{part} does not go: {removed:?}"
        );
    }
    let added = lines(&said, "worker", "pods", "added");
    assert_eq!(added, ["crawlers/crawl-w [10.244.2.7]: Released"]);
}

#[test]
fn without_previous_envelopes_everything_is_new_and_an_unknown_node_is_an_error() {
    let lab = compiled();
    let output = plan(&lab, &["-o", "json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(lines(&said, "gw", "wireGuard", "removed").is_empty());
    assert!(
        lines(&said, "gw", "wireGuard", "added")
            .iter()
            .any(|line| line == "listen port 51850")
    );
    ends(&plan(&lab, &["--node", "nobody"]), 1);
}
