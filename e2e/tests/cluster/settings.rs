//! The settings file of the operators: Event, condition and metric while it is refused.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster settings::`, as root; the first run builds Kubernetes.

use std::path::Path;

use postern_e2e::LabError;
use postern_e2e::cluster::operator_name;
use postern_e2e::lab::Lab;
use postern_e2e::proof::harness::{exit, wait_until};
use serde_json::{Value, json};

use crate::plane::{LONG, cluster, condition, events, gauge, get, leader};

/// What the condition of the exit has to be: status, reason, and words of its message.
fn await_told(lab: &Lab, status: &str, reason: &str, words: &[&str]) {
    let mut last = Value::Null;
    let waited = wait_until(LONG, "the condition about the settings", || {
        last = get(lab, &["exit", "eu"])?;
        let told = condition(&last, "SettingsAccepted").is_some_and(|one| {
            let message = one["message"].as_str().unwrap_or_default();
            one["status"] == status
                && one["reason"] == reason
                && words.iter().all(|words| message.contains(words))
        });
        Ok(told.then_some(()))
    });
    assert!(waited.is_ok(), "{status} {words:?}: {waited:?}: {last:#}");
}

fn await_event(lab: &Lab, words: &[&str]) {
    let mut last = Vec::new();
    let waited = wait_until(LONG, "an Event about the settings", || {
        last = events(lab, "SettingsRefused")?;
        let told = |note: &String| words.iter().all(|words| note.contains(words));
        Ok(last.iter().any(told).then_some(()))
    });
    assert!(waited.is_ok(), "{words:?}: {waited:?}: {last:?}");
}

fn write(lab: &Lab, path: &Path, settings: &Value) -> Result<(), LabError> {
    lab.write_atomically(path, settings.to_string().as_bytes())
}

#[test]
fn keys_that_nobody_knows_are_named_by_an_event_and_a_condition_and_change_nothing() {
    let lab = cluster();
    lab.apply_yaml(&exit("eu", "gw-1", "")).unwrap();
    await_told(&lab, "True", "Accepted", &["in force"]);
    assert_eq!(gauge(&lab, "settings_refused"), Some(0));

    let path = lab.operator_settings();
    let good: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut bad = good.clone();
    bad["lifetime"] = json!("2h");
    bad["tunnels"] = json!({"port": 7});
    write(&lab, &path, &bad).unwrap();
    let keys = "unknown keys: lifetime, tunnels.port";
    await_told(
        &lab,
        "False",
        "SettingsRefused",
        &[keys, "stay in force", "Mend"],
    );
    await_event(&lab, &[keys, "stay in force", "postern-settings"]);
    assert_eq!(gauge(&lab, "settings_refused"), Some(1));

    // An operator that starts now has no settings of before; the other one goes on.
    let standby = 3 - leader(&lab).unwrap();
    let name = operator_name(standby).unwrap();
    lab.stop(&name).unwrap();
    lab.start_operator(standby).unwrap();
    await_event(&lab, &[keys, "The operator ends"]);

    write(&lab, &path, &good).unwrap();
    await_told(&lab, "True", "Accepted", &["in force"]);
    assert_eq!(gauge(&lab, "settings_refused"), Some(0));
}
