//! The kustomize base on a real API server, and what it must never contain.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster manifests::`, as root; the first run builds Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_e2e::cluster::prepare;
use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Binaries, Programs, UpOptions};
use postern_e2e::proof::harness::{TestLab, wait_until};
use serde_json::{Value, json};

/// How long controllers may take to have looked at what was applied.
const CONTROLLER_DEADLINE: Duration = Duration::from_secs(60);

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base")
}

fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

/// The base as kubectl builds it; no API server is asked.
pub(crate) fn rendered() -> Vec<Value> {
    let program = prepare(&mut |_| {}).unwrap().program("kubectl").unwrap();
    let mut kubectl = std::process::Command::new(program);
    kubectl.arg("kustomize").arg(base());
    objects(&command::run(&mut kubectl).unwrap())
}

fn kubectl(lab: &TestLab, arguments: &[&str]) -> String {
    let folder = base().display().to_string();
    lab.kubectl_ok(&[arguments, &["-k", &folder]].concat())
        .unwrap()
}

pub(crate) fn name(object: &Value) -> String {
    let text = |at: &str| {
        object
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    format!("{} {}", text("/kind"), text("/metadata/name"))
}

fn pod_templates() -> BTreeMap<String, Value> {
    let workloads = rendered()
        .into_iter()
        .filter(|object| object["spec"]["template"].is_object());
    workloads
        .map(|object| (name(&object), object["spec"]["template"].clone()))
        .collect()
}

fn containers(pod: &Value) -> Vec<&Value> {
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    lists.into_iter().flatten().flatten().collect()
}

/// Resource versions; of workloads the generation, because controllers write their status whenever they like.
fn versions(lab: &TestLab) -> BTreeMap<String, Value> {
    let list: Value = serde_json::from_str(&kubectl(lab, &["get", "-o", "json"])).unwrap();
    let items = list["items"].as_array().unwrap();
    let version = |object: &Value| match object["kind"].as_str().unwrap() {
        "Deployment" | "DaemonSet" | "PodDisruptionBudget" => {
            object["metadata"]["generation"].clone()
        }
        _ => object["metadata"]["resourceVersion"].clone(),
    };
    items
        .iter()
        .map(|object| (name(object), version(object)))
        .collect()
}

#[test]
fn every_object_passes_a_server_side_dry_run_and_a_second_apply_changes_nothing() {
    let lab = TestLab::up(&UpOptions::on_api_server(1, Programs::Bare)).unwrap();
    // A dry run makes nothing, not even the namespace that the others are in.
    let namespace = base().join("namespace.yaml").display().to_string();
    lab.kubectl_ok(&["apply", "-f", &namespace]).unwrap();
    let tried = kubectl(&lab, &["apply", "--dry-run=server"]);
    assert_eq!(tried.lines().count(), rendered().len(), "{tried}");

    kubectl(&lab, &["apply"]);
    assert_type_checks(&lab);
    let before = settled(&lab);
    let second = kubectl(&lab, &["apply"]);
    // kubectl sends the selector of a disruption budget every time, because its patch replaces and never merges it;
    // what is stored stays the same.
    let changed: Vec<&str> = second
        .lines()
        .filter(|line| !line.ends_with(" unchanged"))
        .filter(|line| !line.starts_with("poddisruptionbudget.policy/"))
        .collect();
    assert_eq!(changed, [""; 0]);
    assert_eq!(versions(&lab), before);
    assert_eq!(kubectl(&lab, &["diff"]), "");
    assert_pods_are_admitted(&lab);
}

/// Definitions, namespaces and policies get a status from controllers; after that they do not change.
fn settled(lab: &TestLab) -> BTreeMap<String, Value> {
    let mut last = BTreeMap::new();
    wait_until(CONTROLLER_DEADLINE, "objects that stand still", || {
        let now = versions(lab);
        let same = now == last;
        last = now.clone();
        std::thread::sleep(Duration::from_secs(1));
        Ok(same.then_some(now))
    })
    .unwrap()
}

/// The API server has typed every expression of the policies against the schemas, and has no warning.
fn assert_type_checks(lab: &TestLab) {
    wait_until(
        CONTROLLER_DEADLINE,
        "policies that were type-checked",
        || {
            let text = lab.kubectl_ok(&["get", "validatingadmissionpolicies", "-o", "json"])?;
            let list: Value = serde_json::from_str(&text).unwrap();
            let policies = list["items"].as_array().unwrap();
            let checked = |policy: &&Value| policy["status"]["typeChecking"].is_object();
            if policies.is_empty() || !policies.iter().all(|policy| checked(&policy)) {
                return Ok(None);
            }
            for policy in policies {
                let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
                assert_eq!(warnings, &Value::Null, "{}", name(policy));
            }
            Ok(Some(()))
        },
    )
    .unwrap();
}

/// Admission takes each pod as its template describes it: Pod Security, priority classes, service accounts.
fn assert_pods_are_admitted(lab: &TestLab) {
    for (workload, template) in pod_templates() {
        let mut pod = template;
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("tried");
        pod["metadata"]["namespace"] = json!("postern-system");
        let mut create = lab
            .kubectl(["create", "--dry-run=server", "-f", "-"])
            .unwrap();
        let output = command::output(&mut create, Some(&pod.to_string())).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{workload}: {said}");
        assert_eq!(said, "", "{workload}");
    }
}

#[test]
fn with_these_rights_the_line_works_and_a_sealed_node_loses_its_startup_taint_alone() {
    let lab = TestLab::up(&UpOptions::on_api_server(1, Programs::Postern)).unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/samples");
    for taint in [
        "postern.dev/not-sealed=:NoExecute",
        "example.com/broken=:NoSchedule",
    ] {
        lab.kubectl_ok(&["taint", "node", "gw-1", taint]).unwrap();
    }
    lab.kubectl_ok(&["apply", "-f", &samples.display().to_string()])
        .unwrap();
    wait_until(
        CONTROLLER_DEADLINE,
        "a node without its startup taint",
        || {
            let way = "jsonpath={.spec.taints[*].key}";
            let keys = lab.kubectl_ok(&["get", "node", "gw-1", "-o", way])?;
            Ok((keys == "example.com/broken").then_some(()))
        },
    )
    .unwrap();
    let ready = ["wait", "exit/eu", "--for=condition=Ready", "--timeout=60s"];
    lab.kubectl_ok(&ready).unwrap();
    // The operator has then written a status, an Event, intents and reports, and every refusal is in its log.
    for program in ["operator-1", "operator-2", "agent-gw-1"] {
        let log = lab.dir().join(format!("log/{program}.log"));
        let log = std::fs::read_to_string(log).unwrap();
        let refused: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("orbidden"))
            .collect();
        assert_eq!(refused, [""; 0], "{program}");
    }
}

#[test]
fn no_right_is_a_wildcard_and_each_binding_is_for_one_of_our_accounts() {
    let mut accounts = BTreeSet::new();
    for object in rendered() {
        for rule in object["rules"].as_array().into_iter().flatten() {
            for list in [
                "apiGroups",
                "resources",
                "verbs",
                "resourceNames",
                "nonResourceURLs",
            ] {
                let words = rule[list].as_array().into_iter().flatten();
                for word in words {
                    assert!(
                        !word.as_str().unwrap().contains('*'),
                        "{}: {rule}",
                        name(&object)
                    );
                }
            }
        }
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert_eq!(subject["kind"], "ServiceAccount", "{}", name(&object));
            assert_eq!(subject["namespace"], "postern-system", "{}", name(&object));
            accounts.insert(subject["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(
        accounts.into_iter().collect::<Vec<_>>(),
        ["postern-agent", "postern-operator"]
    );
}

#[test]
fn no_container_has_more_than_it_declares() {
    let mut declared = BTreeMap::new();
    for (workload, pod) in pod_templates() {
        let spec = &pod["spec"];
        assert_eq!(
            spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{workload}"
        );
        for switch in ["hostPID", "hostIPC", "shareProcessNamespace"] {
            assert_eq!(spec[switch], Value::Null, "{workload}");
        }
        for container in containers(&pod) {
            let context = &container["securityContext"];
            assert_eq!(context["privileged"], Value::Null, "{workload}");
            assert_eq!(
                context["allowPrivilegeEscalation"],
                json!(false),
                "{workload}"
            );
            assert_eq!(context["readOnlyRootFilesystem"], json!(true), "{workload}");
            assert_eq!(
                context["capabilities"]["drop"],
                json!(["ALL"]),
                "{workload}"
            );
            assert!(container["resources"]["requests"].is_object(), "{workload}");
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{workload}"
            );
            let key = format!("{workload} {}", container["name"].as_str().unwrap());
            declared.insert(key, context["capabilities"]["add"].clone());
        }
    }
    let expected = json!({
        "DaemonSet postern-agent agent": ["NET_ADMIN", "NET_RAW", "BPF"],
        "DaemonSet postern-agent plugin": null,
        "DaemonSet postern-tunnel tunnel": ["NET_ADMIN"],
        "Deployment postern-operator operator": null,
    });
    assert_eq!(json!(declared), expected);
    let operator = &pod_templates()["Deployment postern-operator"]["spec"]["securityContext"];
    assert_eq!(operator["runAsNonRoot"], json!(true));
}

#[test]
fn only_the_agent_and_the_operator_have_a_token() {
    let pods = pod_templates();
    let has_token = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let projected = volumes.flat_map(|volume| volume["projected"]["sources"].as_array());
        let own = projected
            .flatten()
            .any(|source| source["serviceAccountToken"].is_object());
        own || pod["spec"]["automountServiceAccountToken"] == json!(true)
    };
    let holders: Vec<&str> = pods
        .iter()
        .filter(|(_, pod)| has_token(pod))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        holders,
        ["DaemonSet postern-agent", "Deployment postern-operator"]
    );
    // An account without the switch would give one to every pod that names it.
    let accounts = rendered()
        .into_iter()
        .filter(|object| object["kind"] == "ServiceAccount");
    for account in accounts {
        assert_eq!(
            account["automountServiceAccountToken"],
            json!(false),
            "{}",
            name(&account)
        );
    }
}

/// A cluster of one node has both replicas of the operator on it: nothing may keep the second one away.
#[test]
fn nothing_in_the_manifests_keeps_two_replicas_apart() {
    let mut operators = 0;
    for (workload, pod) in pod_templates() {
        let spec = &pod["spec"];
        let affinity = spec["affinity"].to_string();
        assert!(!affinity.contains("required"), "{workload}: {affinity}");
        let spread = spec["topologySpreadConstraints"].as_array();
        for constraint in spread.into_iter().flatten() {
            assert_eq!(
                constraint["whenUnsatisfiable"], "ScheduleAnyway",
                "{workload}"
            );
        }
        if !workload.contains("operator") {
            continue;
        }
        operators += 1;
        assert_eq!(spec["hostNetwork"], true, "{workload}");
        assert!(affinity.contains("preferred"), "{workload}: {affinity}");
        for container in containers(&pod) {
            assert_eq!(container["ports"], Value::Null, "{workload}: {container}");
            let arguments = container["args"].to_string();
            assert!(arguments.matches("--listen=").count() > 1, "{arguments}");
        }
    }
    assert_eq!(operators, 1);
}

/// A command line with `--help` at its end is read up to there: what a program does not know is refused before.
#[test]
fn each_program_knows_the_arguments_of_its_manifest() {
    let programs = Binaries::locate().unwrap();
    let options = UpOptions::on_api_server(1, Programs::Postern);
    programs.build(&options).unwrap();
    for (workload, pod) in pod_templates() {
        for container in containers(&pod) {
            let run = [&container["command"], &container["args"]].map(|list| list.as_array());
            let run: Vec<&Value> = run.into_iter().flatten().flatten().collect();
            let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
            let probes = probes.map(|probe| container[probe]["exec"]["command"].as_array());
            let probes = probes.map(|probe| probe.into_iter().flatten().collect());
            for line in [run]
                .into_iter()
                .chain(probes)
                .filter(|line| !line.is_empty())
            {
                let words: Vec<&str> = line.iter().map(|word| word.as_str().unwrap()).collect();
                assert_known(&programs, &workload, &words);
            }
        }
    }
}

fn assert_known(programs: &Binaries, workload: &str, line: &[&str]) {
    // The plugin reads its arguments itself and refuses unknown ones; its own cases check that.
    if line[0] == "postern-cni" {
        return;
    }
    let mut command = std::process::Command::new(programs.path(line[0]));
    let words = line[1..]
        .iter()
        .map(|word| word.replace("$(", "").replace(')', ""));
    command
        .args(words.map(|word| word.replace("=NODE_NAME", "=n1")))
        .arg("--help");
    let output = command::output(&mut command, None).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{workload}: {line:?}: {said}");
}

/// The chart refuses a setting that the operator does not know, and takes each that it knows.
#[test]
fn the_values_of_the_chart_have_the_settings_of_the_reference() {
    let page = std::fs::read_to_string(base().join("../../docs/settings.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<&str> = rows
        .filter_map(|row| row.split(['`', '.']).next())
        .collect();
    let schema = std::fs::read(base().join("../../charts/postern/values.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let taken = schema["properties"]["settings"]["propertyNames"]["enum"]
        .as_array()
        .unwrap();
    let taken: BTreeSet<&str> = taken.iter().filter_map(Value::as_str).collect();
    assert_eq!(taken, documented);
}
