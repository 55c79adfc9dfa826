//! The chart: what it renders beside the kustomize base, what it refuses, and Helm on a real API server.
//!
//! `make chart`, as root; the first run builds Helm and Kubernetes. Elsewhere these cases run once Helm is built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use postern_e2e::cluster::{cached_helm, prepare};
use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Programs, UpOptions};
use postern_e2e::proof::harness::TestLab;
use serde_json::{Value, json};

/// Not the namespace of the base, so that a name that was not replaced is seen.
const NAMESPACE: &str = "egress";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn chart() -> String {
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

/// YAML takes such a name for a number where it stands without quotes.
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

#[test]
fn values_of_the_operator_change_what_they_name() {
    let chart = rendered(
        NAMESPACE,
        &[
            r#"imageRegistry="registry.example.com/team""#,
            r#"imagePullSecrets=["pull"]"#,
            r#"imagePullPolicy="Always""#,
            r#"settings={"refresh":"30m"}"#,
            "operator.replicas=3",
            r#"operator.tolerations=[{"key":"edge","operator":"Exists"}]"#,
            r#"operator.image.tag="1.2.3""#,
            r#"operator.podLabels={"team":"net"}"#,
        ],
    );
    let operator = &chart["Deployment egress postern-operator"]["spec"];
    assert_eq!(operator["replicas"], 3);
    let pod = &operator["template"]["spec"];
    let image = "registry.example.com/team/postern-operator:1.2.3";
    assert_eq!(pod["containers"][0]["image"], image);
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(operator["template"]["metadata"]["labels"]["team"], "net");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "pull"}]));
    let tolerations = pod["tolerations"].as_array().unwrap();
    assert_eq!(
        tolerations.last(),
        Some(&json!({"key": "edge", "operator": "Exists"}))
    );
    assert!(tolerations.len() > 1, "the operator keeps its own ones");
    let settings = &chart["ConfigMap egress postern-settings"]["data"]["settings.yaml"];
    assert_eq!(settings, "refresh: 30m\n");
}

#[test]
fn values_of_agent_and_tunnel_change_what_they_name() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let image = format!(r#"tunnel.image.digest="{digest}""#);
    let chart = rendered(
        NAMESPACE,
        &[
            r#"imageRegistry="registry.example.com/team""#,
            &image,
            "agent.maxUnavailable=3",
            r#"agent.podCidrs=["10.0.0.0/8","fd00::/8"]"#,
            r#"agent.serviceCidrs=["10.96.0.0/12"]"#,
            r#"agent.nodeCidrs=["192.0.2.0/24"]"#,
            r#"agent.podLinks=["lxc*","eni0"]"#,
            r#"agent.podAnnotations={"a":"b"}"#,
            "agent.secondLock=false",
            r#"agent.plugin.programFolder="/usr/libexec/cni""#,
            r#"agent.plugin.configurationFolder="/etc/cni/other""#,
            r#"agent.nodeSelector={"egress":"yes"}"#,
            r#"agent.resources={"limits":{"memory":"1Gi"}}"#,
            r#"tunnel.nodeSelector={"egress":"yes"}"#,
            r#"tunnel.resources={"limits":{"memory":"2Gi"}}"#,
        ],
    );
    let agent = &chart["DaemonSet egress postern-agent"]["spec"];
    assert_eq!(
        agent["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        3
    );
    let annotations = &agent["template"]["metadata"]["annotations"];
    assert_eq!(annotations, &json!({"a": "b"}));
    let pod = &agent["template"]["spec"];
    let arguments: Vec<&str> = pod["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for argument in [
        "--pod-cidrs=10.0.0.0/8,fd00::/8",
        "--service-cidrs=10.96.0.0/12",
        "--node-cidrs=192.0.2.0/24",
        "--pod-links=lxc*,eni0",
        "--second-lock=off",
    ] {
        assert!(arguments.contains(&argument), "{argument}: {arguments:?}");
    }
    assert_eq!(pod["nodeSelector"], json!({"egress": "yes"}));
    let memory = &pod["containers"][0]["resources"];
    assert_eq!(memory, &json!({"limits": {"memory": "1Gi"}}));
    assert_ne!(&pod["containers"][1]["resources"], memory, "of the plugin");
    let folders: BTreeSet<&str> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .collect();
    assert!(folders.contains("/usr/libexec/cni") && folders.contains("/etc/cni/other"));

    let tunnel = &chart["DaemonSet egress postern-tunnel"]["spec"]["template"]["spec"];
    assert_eq!(tunnel["nodeSelector"], json!({"egress": "yes"}));
    let memory = &tunnel["containers"][0]["resources"]["limits"]["memory"];
    assert_eq!(memory, "2Gi");
    let image = format!("registry.example.com/team/postern-tunnel@{digest}");
    assert_eq!(tunnel["containers"][0]["image"], image);
}

#[test]
fn a_part_that_is_switched_off_leaves_nothing_of_it() {
    let chart = rendered(
        NAMESPACE,
        &[
            "definitions.install=false",
            "startupTaint.enabled=false",
            "agent.plugin.install=false",
        ],
    );
    let mut names = chart.keys();
    assert!(!names.any(|name| name.contains("CustomResourceDefinition") || name.contains("taint")));
    let pod = &chart["DaemonSet egress postern-agent"]["spec"]["template"]["spec"];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    let arguments = pod["containers"][0]["args"].to_string();
    assert!(arguments.contains("--plugin=none"), "{arguments}");
    assert!(
        !pod["volumes"].to_string().contains("cni"),
        "{}",
        pod["volumes"]
    );
}

#[test]
fn a_wrong_value_is_refused_and_the_message_names_it() {
    command::run(&mut helm(&["lint", "--strict", &chart()])).unwrap();
    for (value, named) in [
        ("operator.replicas=0", "'/operator/replicas'"),
        ("operator.replica=2", "'replica' not allowed"),
        (r#"imagePullPolicy="Sometimes""#, "'/imagePullPolicy'"),
        (r#"agent.podCidrs=["10.0.0.0"]"#, "'/agent/podCidrs/0'"),
        (r#"agent.podLinks=["*veth"]"#, "'/agent/podLinks/0'"),
        (r#"agent.maxUnavailable="0%""#, "'/agent/maxUnavailable'"),
        (
            r#"agent.plugin.programFolder="opt/cni""#,
            "'/agent/plugin/programFolder'",
        ),
        (
            r#"tunnel.image.digest="sha256:12""#,
            "'/tunnel/image/digest'",
        ),
        (
            r#"tunnel.image.repository="""#,
            "'/tunnel/image/repository'",
        ),
        (r#"settings={"podRange":[]}"#, "podRange"),
        (
            r#"agent.podLabels={"app.kubernetes.io/component":"x"}"#,
            "app.kubernetes.io/component",
        ),
        // Helm takes a default away where a value is null, and the template would see nothing.
        ("agent.secondLock=null", "'secondLock'"),
        ("agent.plugin.install=null", "'install'"),
        ("definitions.keep=null", "'keep'"),
        ("startupTaint.enabled=null", "'enabled'"),
        ("operator.image.repository=null", "'repository'"),
        ("operator.replicas=null", "'replicas'"),
        ("settings=null", "'settings'"),
        ("tunnel=null", "'tunnel'"),
    ] {
        let chart = chart();
        let mut template = helm(&["template", "postern", &chart, "--set-json", value]);
        let output = command::output(&mut template, None).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{value}");
        assert!(said.contains(named), "{value}: {said}");
    }
}

/// What a release has in the cluster, by kind and name, with the version of what is stored. Controllers write the status of
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
    assert_eq!(left.len(), 5);
    // A release of the same name finds its definitions again; the flag is for one of another name.
    run(&["install", "postern", &chart]);
    assert_eq!(stored(&lab).len(), before.len());
    run(&["uninstall", "postern"]);
    let install = ["install", "other", &chart, "--namespace", NAMESPACE];
    let refused = command::output(&mut lab.helm(&install).unwrap(), None).unwrap();
    assert!(!refused.status.success());
    run(&["install", "other", &chart, "--take-ownership"]);
}
