//! Helm on a real API server, and the chart's annotations.

use std::collections::{BTreeMap, BTreeSet};

use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Programs, UpOptions};
use postern_e2e::proof::harness::TestLab;
use serde_json::{Value, json};

use super::{NAMESPACE, chart, named, rendered, repository};

/// The objects of a release, by kind and name, with the version of what is stored. Controllers write the status of
/// workloads and of definitions whenever they like, so there the generation counts.
fn stored(lab: &TestLab) -> BTreeMap<String, Value> {
    let kinds = "customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,\
        validatingadmissionpolicybindings,serviceaccounts,roles,rolebindings,configmaps,deployments,daemonsets,\
        poddisruptionbudgets";
    let selector = "app.kubernetes.io/instance=postern";
    let arguments = ["get", kinds, "-n", NAMESPACE, "-l", selector, "-o", "json"];
    let list: Value = serde_json::from_str(&lab.kubectl_ok(&arguments).unwrap()).unwrap();
    let items = named(list["items"].as_array().unwrap().clone());
    let version = |object: &Value| match &object["metadata"]["generation"] {
        Value::Null => object["metadata"]["resourceVersion"].clone(),
        generation => generation.clone(),
    };
    items
        .iter()
        .map(|(name, one)| (name.clone(), version(one)))
        .collect()
}

/// An annotation of the chart for Artifact Hub.
fn annotation(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(repository("charts/postern/Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    let annotation = &chart["annotations"][format!("artifacthub.io/{name}")];
    serde_saphyr::from_str(annotation.as_str().unwrap()).unwrap()
}

#[test]
fn the_annotations_name_the_images_and_the_kinds_of_the_chart() {
    let chart = rendered(NAMESPACE, &[]);
    let pods = chart
        .values()
        .map(|object| &object["spec"]["template"]["spec"]);
    let containers = pods
        .filter_map(|pod| pod["containers"].as_array())
        .flatten();
    let images: BTreeSet<&str> = containers.filter_map(|one| one["image"].as_str()).collect();
    let named = annotation("images");
    let named: BTreeSet<&str> = named
        .iter()
        .filter_map(|one| one["image"].as_str())
        .collect();
    assert_eq!(named, images);
    for definition in annotation("crds") {
        let name = definition["name"].as_str().unwrap();
        let object = &chart[&format!("CustomResourceDefinition  {name}")];
        assert_eq!(object["spec"]["names"]["kind"], definition["kind"]);
    }
}

#[test]
fn helm_installs_upgrades_without_a_change_and_removes_all_but_the_definitions() {
    let lab = TestLab::up(&UpOptions::on_api_server(1, Programs::Bare)).unwrap();
    let chart = chart();
    let run = |verb: &[&str]| {
        let arguments = [verb, &["--namespace", NAMESPACE]].concat();
        command::run(&mut lab.helm(&arguments).unwrap()).unwrap()
    };
    // The lab has applied the definitions by kubectl.
    let notes = run(&[
        "install",
        "postern",
        &chart,
        "--create-namespace",
        "--take-ownership",
    ]);
    let examples = json!({"apiVersion": "v1", "kind": "List", "items": annotation("crdsExamples")});
    let mut create = lab
        .kubectl(["create", "--dry-run=server", "-f", "-"])
        .unwrap();
    command::run_with_input(&mut create, &examples.to_string()).unwrap();
    assert!(
        notes.contains("kubectl -n egress get secret postern-signing-key"),
        "{notes}"
    );
    let before = stored(&lab);
    assert_eq!(
        before.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        rendered(NAMESPACE, &[])
            .keys()
            .map(String::as_str)
            .collect::<BTreeSet<_>>()
    );

    run(&["upgrade", "postern", &chart]);
    assert_eq!(stored(&lab), before);
    run(&[
        "upgrade",
        "postern",
        &chart,
        "--set-json",
        r#"settings={"refresh":"30m"}"#,
    ]);
    let changed = stored(&lab)
        .into_iter()
        .filter(|(name, version)| before[name] != *version);
    let changed: Vec<String> = changed.map(|(name, _)| name).collect();
    assert_eq!(changed, ["ConfigMap egress postern-settings"]);

    run(&["uninstall", "postern"]);
    let left = stored(&lab);
    let definitions = before
        .keys()
        .filter(|name| name.starts_with("CustomResourceDefinition "));
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        definitions.collect::<Vec<_>>()
    );
    assert_eq!(left.len(), 6);
    // A release of the same name finds its definitions again; the flag is for one of another name.
    run(&["install", "postern", &chart]);
    assert_eq!(stored(&lab).len(), before.len());
    run(&["uninstall", "postern"]);
    let install = ["install", "other", &chart, "--namespace", NAMESPACE];
    let refused = command::output(&mut lab.helm(&install).unwrap(), None).unwrap();
    assert!(!refused.status.success());
    run(&["install", "other", &chart, "--take-ownership"]);
}
