//! `posternctl` on a real API server: what people read there, and what they approve.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster ctl::`, as root; the first run builds Kubernetes.

use std::process::Output;

use postern_e2e::cluster::{token, write_kubeconfig};
use postern_e2e::lab::Lab;
use postern_e2e::lab::sandbox::command;
use postern_e2e::proof::harness::wait_until;
use serde_json::{Value, json};

use crate::plane::{LONG, SYSTEM, await_held, cluster, condition, events_in, gauge, get, held};

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");

/// A policy whose exit does not exist.
pub(crate) const NOWHERE: &str = "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\n\
    metadata: {namespace: crawlers, name: lost}\nspec:\n  podSelector: {matchLabels: {app: lost}}\n  \
    route: {type: Exit, exitNodes: [{name: nowhere}]}\n  defaultAction: Allow\n";

fn posternctl(lab: &Lab, arguments: &[&str]) -> Output {
    command::output(&mut lab.posternctl(arguments).unwrap(), None).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Its output when it ends with this code.
pub(crate) fn says(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let output = posternctl(lab, arguments);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    text(&output)
}

fn assert_says(lab: &Lab, arguments: &[&str], code: i32, words: &[&str]) {
    let said = says(lab, arguments, code);
    for words in words {
        assert!(said.contains(words), "{said} does not say {words:?}");
    }
}

fn approvals(lab: &Lab) -> Value {
    let map = ["configmap", "postern-approvals", "-n", SYSTEM];
    get(lab, &[&map[..], &["--ignore-not-found"]].concat()).unwrap_or_default()
}

/// Waits until `status` with these arguments ends with this code and prints all of these words.
fn await_status(lab: &Lab, arguments: &[&str], code: i32, words: &[&str]) {
    let mut last = String::new();
    let waited = wait_until(LONG, "a status", || {
        let output = posternctl(lab, &[&["status"], arguments].concat());
        last = text(&output);
        let told = words.iter().all(|words| last.contains(words));
        Ok((output.status.code() == Some(code) && told).then_some(()))
    });
    assert!(waited.is_ok(), "{code} {words:?}: {waited:?}: {last}");
}

#[test]
fn people_read_how_things_stand_and_are_told_what_they_may_not() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let nothing = ["nothing waits for an approval"];
    assert_says(&lab, &["approve"], 0, &nothing);
    let json: Value = serde_json::from_str(&says(&lab, &["approve", "-o", "json"], 0)).unwrap();
    assert_eq!(json, json!({"held": []}));
    assert_says(
        &lab,
        &["approve", "node", "n1"],
        1,
        &["nothing about node n1 waits", "what waits: nothing"],
    );

    await_status(&lab, &[], 0, &["crawler", "gw-1", "n1", nothing[0]]);
    let json: Value = serde_json::from_str(&says(&lab, &["status", "-o", "json"], 0)).unwrap();
    let policy = &json["policies"][0];
    assert_eq!(
        (&policy["name"], &policy["programmed"]),
        (&json!("crawler"), &json!("True"))
    );
    assert_eq!(json["exits"][0]["active"], "gw-1");
    for node in json["nodes"].as_array().unwrap() {
        assert_eq!(node["appliedSerial"], node["publishedSerial"], "{node}");
        assert_eq!(node["failClosed"], "True", "{node}");
    }

    a_held_release_shows_where_its_tenant_looks(&lab);
    await_status(&lab, &[], 0, &[nothing[0]]);

    lab.apply_yaml(NOWHERE).unwrap();
    await_status(&lab, &[], 3, &["RefNotFound: there is no ExitNode nowhere"]);
    refuses_who_may_not(&lab);
    assert_says(
        &lab,
        &["status", "--namespace", "elsewhere"],
        1,
        &["there is no namespace elsewhere: Postern is not installed"],
    );
}

/// Writes the settings of the operators, and waits until all of them have taken or refused them.
fn write_settings(lab: &Lab, settings: &Value, refused: i64) {
    let path = lab.operator_settings();
    lab.write_atomically(&path, settings.to_string().as_bytes())
        .unwrap();
    wait_until(LONG, "operators that have read their settings", || {
        Ok((gauge(lab, "settings_refused") == Some(refused)).then_some(()))
    })
    .unwrap();
}

/// A tenant changes the selector where no pod may go without an approval: the condition of the policy and an Event that
/// `kubectl describe` lists say so, with what to type.
fn a_held_release_shows_where_its_tenant_looks(lab: &Lab) {
    let text = std::fs::read_to_string(lab.operator_settings()).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let mut strict = good.clone();
    // Settings that are refused in between show when the next ones are in force.
    strict["nobody-knows-this"] = json!(1);
    write_settings(lab, &strict, 1);
    strict = good.clone();
    strict["gate"] = json!({"pods": 0, "percent": 0});
    write_settings(lab, &strict, 0);

    let policy = ["egp", "crawler", "-n", "crawlers"];
    let select = |app: &str| {
        let patch = json!({"spec": {"podSelector": {"matchLabels": {"app": app}}}}).to_string();
        let patch = ["--type=merge", "-p", &patch];
        lab.kubectl_ok(&[&["patch"], &policy[..], &patch[..]].concat())
            .unwrap();
    };
    select("nobody");
    await_held(
        lab,
        "SelectorChanged",
        &[json!({"policy": "crawlers/crawler"})],
    )
    .unwrap();
    let held = wait_until(LONG, "the condition of the policy", || {
        let object = get(lab, &policy)?;
        let says = condition(&object, "Programmed")
            .is_some_and(|one| one["status"] == "False" && one["reason"] == "ReleaseHeld");
        Ok(says.then_some(object))
    })
    .unwrap();
    let approve = "posternctl approve policy crawlers/crawler";
    wait_until(LONG, "an Event in the namespace of the tenant", || {
        let told = events_in(lab, "crawlers", "ReleaseHeld")?;
        let told = told.iter().any(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            event["regarding"]["uid"] == held["metadata"]["uid"] && note.contains(approve)
        });
        Ok(told.then_some(()))
    })
    .unwrap();
    let described = lab
        .kubectl_ok(&[&["describe"], &policy[..]].concat())
        .unwrap();
    let (_, listed) = described.split_once("\nEvents:").unwrap();
    assert!(listed.contains(approve), "{described}");

    select("crawler");
    await_held(lab, "none", &[]).unwrap();
    write_settings(lab, &good, 0);
}

/// An agent's token may read its intent and nothing of this, and hears which right is missing.
fn refuses_who_may_not(lab: &Lab) {
    let kubeconfig = lab.dir().join("tmp/agent.kubeconfig");
    let token = token(lab, SYSTEM, "postern-agent", None).unwrap();
    write_kubeconfig(lab, &kubeconfig, "agent", &token).unwrap();
    let file = kubeconfig.display().to_string();
    let right = "the right to get configmaps postern-memory in namespace postern-system is missing";
    for verb in [&["status"][..], &["approve"], &["approve", "node", "n1"]] {
        let arguments = [verb, &["--kubeconfig", &file]].concat();
        assert_says(lab, &arguments, 1, &[right, "postern-approver"]);
    }
    assert_eq!(approvals(lab), Value::Null);
}

/// A kubeconfig of an account that has the roles for it and nothing else.
fn approver(lab: &Lab) -> String {
    let account = "system:serviceaccount:crawlers:approver";
    let create: [&[&str]; 3] = [
        &["serviceaccount", "approver", "-n", "crawlers"],
        &[
            "rolebinding",
            "approver",
            "-n",
            SYSTEM,
            "--role=postern-approver",
        ],
        &[
            "clusterrolebinding",
            "approver",
            "--clusterrole=postern-approver",
        ],
    ];
    let user = format!("--user={account}");
    for (number, words) in create.into_iter().enumerate() {
        let user = (number > 0).then_some(user.as_str());
        let words: Vec<&str> = words.iter().copied().chain(user).collect();
        lab.kubectl_ok(&[&["create"], &words[..]].concat()).unwrap();
    }
    let kubeconfig = lab.dir().join("tmp/approver.kubeconfig");
    let token = token(lab, "crawlers", "approver", None).unwrap();
    write_kubeconfig(lab, &kubeconfig, "approver", &token).unwrap();
    kubeconfig.display().to_string()
}

#[test]
fn what_waits_is_approved_once_and_the_operator_takes_it() {
    let lab = cluster();
    lab.selected_sender("n1").unwrap();
    let uid = get(&lab, &["egp", "crawler", "-n", "crawlers"]).unwrap()["metadata"]["uid"].clone();
    lab.kubectl_ok(&["delete", "crd", "egresspolicies.postern.dev"])
        .unwrap();
    let policy = json!({"policy": "crawlers/crawler"});
    await_held(&lab, "DefinitionTerminating", &[policy]).unwrap();
    assert_says(
        &lab,
        &["status"],
        1,
        &["the API server knows no egresspolicies.postern.dev"],
    );
    let told = "posternctl approve policy crawlers/crawler";
    wait_until(LONG, "an Event that says what to type", || {
        let told = events_in(&lab, "crawlers", "ReleaseHeld")?
            .iter()
            .any(|event| {
                let note = event["note"].as_str().unwrap_or_default();
                event["regarding"]["uid"] == uid && note.contains(told)
            });
        Ok(told.then_some(()))
    })
    .unwrap();
    let kubeconfig = approver(&lab);
    let whom = ["policy", "crawlers/crawler", "--kubeconfig", &kubeconfig];
    let approve = [&["approve"][..], &whom].concat();
    let trial = [&approve[..], &["--dry-run"]].concat();
    let what = "policy crawlers/crawler (DefinitionTerminating), 1 pods";
    assert_says(&lab, &trial, 0, &[&format!("would be approved: {what}")]);
    assert_eq!(approvals(&lab), Value::Null);
    let held = held(&lab).unwrap();
    assert_eq!(says(&lab, &approve, 0).trim(), format!("approved: {what}"));
    let map = approvals(&lab);
    let digest = held[0]["digest"].as_str().unwrap();
    let key = format!("policy.crawlers.crawler.{}", &digest[..12]);
    let entries = map["data"].as_object().unwrap();
    assert_eq!(entries.keys().collect::<Vec<_>>(), [&key]);
    await_held(&lab, "none", &[]).unwrap();
    assert_says(&lab, &approve, 1, &["what waits: nothing"]);
    assert_eq!(approvals(&lab), map);
    lab.kubectl_ok(&["apply", "--server-side", "-k", DEFINITIONS])
        .unwrap();
    let file = ["--kubeconfig", &kubeconfig];
    await_status(&lab, &file, 0, &["there is no policy"]);
    // The roles are enough for everything that the doctor looks at.
    let said = text(&posternctl(&lab, &[&["doctor"], &file[..]].concat()));
    assert!(!said.contains("NotLookedAt"), "{said}");
}
