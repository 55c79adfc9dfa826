//! `posternctl compile` where something was compiled before: it is an input, or the reason why nothing is written.

use std::fs;

use serde_json::Value;

use crate::folder::Lab;
use crate::verbs::{NOW, ends, posternctl, text};

const COMPILE: [&str; 9] = [
    "compile",
    "-f",
    "manifests",
    "--reports",
    "reports",
    "--now",
    NOW,
    "-o",
    "json",
];
const OUT: [&str; 4] = ["--key", "keys/signing.pem", "--out", "out"];
const ENVELOPE: &str = "out/worker/intent.dsse.json";

fn run(lab: &Lab, more: &[&str]) -> std::process::Output {
    posternctl(lab, &[&COMPILE[..], more].concat())
}

/// A lab whose nodes have reported, with one compile into `out`.
fn compiled() -> Lab {
    let lab = Lab::new();
    ends(&posternctl(&lab, &["keygen", "keys"]), 0);
    lab.report_keys();
    ends(&run(&lab, &OUT), 0);
    lab
}

fn outcomes(output: &std::process::Output) -> Vec<String> {
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let nodes = said["nodes"].as_array().expect("a list");
    nodes
        .iter()
        .map(|node| node["outcome"].as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn what_stands_in_the_output_folder_counts_as_published() {
    let lab = compiled();
    let before = fs::read(lab.path(ENVELOPE)).expect("an envelope");
    let again = run(&lab, &OUT);
    assert_eq!(outcomes(&again), ["Keep", "Keep"], "{}", text(&again));
    assert_eq!(fs::read(lab.path(ENVELOPE)).expect("an envelope"), before);
}

#[test]
fn what_is_written_over_goes_through_the_gate() {
    let lab = compiled();
    let pods: String = (0..20)
        .map(|number| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{namespace: crawlers, name: many-{number}, uid: many-{number}, \
                 labels: {{app: crawler}}}}\nspec: {{nodeName: worker, containers: []}}\n---\n"
            )
        })
        .collect();
    lab.write("manifests/many.yaml", &pods);
    ends(&run(&lab, &OUT), 0);
    fs::remove_file(lab.path("manifests/20-crawlers.yaml")).expect("a policy");
    let held = run(&lab, &OUT);
    ends(&held, 3);
    assert!(text(&held).contains("PolicyDeleted"), "{}", text(&held));
}

#[test]
fn a_damaged_envelope_is_an_error_that_names_it_and_nothing_is_written() {
    let lab = compiled();
    lab.write(ENVELOPE, "{}");
    let other = fs::read(lab.path("out/gw/intent.dsse.json")).expect("an envelope");
    lab.write("manifests/more.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: more, labels: {postern.dev/egress-default: deny}}\n");
    for previous in [&[][..], &["--previous", "out", "--trust", "keys/trust.pem"]] {
        let failed = run(&lab, &[&OUT[..], previous].concat());
        ends(&failed, 1);
        let why = text(&failed);
        assert!(
            why.contains(ENVELOPE) && why.contains("put it back"),
            "{why}"
        );
        assert_eq!(fs::read(lab.path(ENVELOPE)).expect("an envelope"), b"{}");
        let now = fs::read(lab.path("out/gw/intent.dsse.json")).expect("an envelope");
        assert_eq!(now, other);
    }
}

#[test]
fn an_envelope_of_a_key_that_is_not_trusted_is_an_error_until_it_is() {
    let lab = compiled();
    ends(&posternctl(&lab, &["keygen", "other"]), 0);
    let out = ["--key", "other/signing.pem", "--out", "out"];
    let failed = run(&lab, &out);
    ends(&failed, 1);
    assert!(text(&failed).contains("--trust"), "{}", text(&failed));
    let trusted = run(&lab, &[&out[..], &["--trust", "keys/trust.pem"]].concat());
    assert_eq!(outcomes(&trusted), ["Keep", "Keep"], "{}", text(&trusted));
}

#[test]
fn a_previous_folder_that_is_not_there_is_an_error() {
    let lab = compiled();
    let failed = run(&lab, &["--previous", "uot", "--trust", "keys/trust.pem"]);
    ends(&failed, 1);
    assert!(text(&failed).contains("uot"), "{}", text(&failed));
}

#[test]
fn previous_envelopes_without_their_state_are_an_error() {
    let lab = compiled();
    fs::remove_file(lab.path("out/state.json")).expect("a state");
    let failed = run(&lab, &OUT);
    ends(&failed, 1);
    assert!(text(&failed).contains("backup"), "{}", text(&failed));
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new();
    lab.report_keys();
    ends(&run(&lab, &["--state", "state.json"]), 0);
    assert!(!lab.path("state.json").exists());
}
