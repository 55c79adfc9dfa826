//! The chart: what it renders beside the kustomize base, what it refuses, and Helm on a real API server.
//!
//! `make chart`, as root; the first run builds Helm and Kubernetes. Elsewhere these cases run once Helm is built.

mod release;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_e2e::cluster::{cached_helm, prepare};
use postern_e2e::lab::sandbox::command;
use serde_json::{Value, json};

/// Not the namespace of the base, so that a name that was not replaced is seen.
const NAMESPACE: &str = "egress";

pub(super) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(super) fn chart() -> String {
    repository("charts/postern").display().to_string()
}

fn helm(arguments: &[&str]) -> Command {
    let program = cached_helm().unwrap();
    let mut helm = Command::new(program.expect("Helm is built: make chart"));
    helm.args(arguments);
    helm
}

fn objects(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    documents.into_iter().filter(|one| !one.is_null()).collect()
}

/// What the chart makes of values in a namespace; no API server is asked.
fn rendered(namespace: &str, values: &[&str]) -> BTreeMap<String, Value> {
    let chart = chart();
    let mut arguments = vec![
        "template",
        "postern",
        &chart,
        "--namespace",
        namespace,
        "--kube-version=1.37.2",
    ];
    arguments.extend(values.iter().flat_map(|value| ["--set-json", value]));
    named(objects(&command::run(&mut helm(&arguments)).unwrap()))
}

/// Objects by kind, namespace and name.
fn named(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let text = |object: &Value, at: &str| {
        let text = object.pointer(at).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let key = |object: &Value| {
        let places = ["/kind", "/metadata/namespace", "/metadata/name"];
        places.map(|at| text(object, at)).join(" ")
    };
    objects.into_iter().map(|one| (key(&one), one)).collect()
}

/// The base as kubectl builds it.
fn base() -> BTreeMap<String, Value> {
    let program = prepare(&mut |_| {}).unwrap().program("kubectl").unwrap();
    let mut kubectl = Command::new(program);
    kubectl.arg("kustomize").arg(repository("deploy/base"));
    named(objects(&command::run(&mut kubectl).unwrap()))
}

/// Takes away what Helm asks of every release and the base does not have.
fn without_release(mut object: Value) -> Value {
    let labels = [
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/version",
        "helm.sh/chart",
    ];
    if let Some(there) = object
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        there.retain(|label, _| !labels.contains(&label.as_str()));
    }
    let annotations = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut);
    if let Some(there) = annotations {
        there.remove("helm.sh/resource-policy");
        if there.is_empty() {
            object["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("annotations");
        }
    }
    let containers = object
        .pointer_mut("/spec/template/spec/containers")
        .and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
        container.as_object_mut().unwrap().remove("imagePullPolicy");
    }
    object
}

#[test]
fn the_chart_renders_every_object_of_the_base_as_it_is_there_and_no_other_one() {
    let mut base = base();
    // Helm makes the namespace of a release, and the notes say which label it needs.
    assert!(base.remove("Namespace  postern-system").is_some());
    let chart: BTreeMap<String, Value> = rendered("postern-system", &[])
        .into_iter()
        .map(|(name, object)| (name, without_release(object)))
        .collect();
    assert_eq!(
        chart.keys().collect::<Vec<_>>(),
        base.keys().collect::<Vec<_>>()
    );
    for (name, object) in &base {
        assert_eq!(&chart[name], object, "{name}");
    }
}

#[test]
fn another_namespace_stands_wherever_the_base_has_its_own() {
    let chart = rendered(NAMESPACE, &[]);
    let found = json!(chart).to_string();
    assert!(found.contains("system:serviceaccount:egress:postern-operator"));
    assert!(!found.contains("postern-system"), "{found}");
}

/// YAML reads such a name without quotes as a number.
#[test]
fn a_namespace_that_looks_like_a_number_stays_a_name() {
    let chart = rendered("1e3", &[]);
    let account = &chart["ServiceAccount 1e3 postern-agent"];
    assert_eq!(account["metadata"]["namespace"], "1e3");
    let binding = &chart["RoleBinding 1e3 postern-operator"];
    assert_eq!(binding["subjects"][0]["namespace"], "1e3");
}

#[test]
fn definitions_go_with_the_release_only_where_the_values_say_so() {
    let annotation = |values: &[&str]| {
        let name = "CustomResourceDefinition  egresspolicies.postern.dev";
        let chart = rendered(NAMESPACE, values);
        chart[name]["metadata"]["annotations"]["helm.sh/resource-policy"].clone()
    };
    assert_eq!(annotation(&[]), "keep");
    assert_eq!(annotation(&["definitions.keep=false"]), Value::Null);
}
