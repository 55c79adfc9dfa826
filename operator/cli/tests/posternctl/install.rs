//! Whether a cluster can have Postern, by objects as an API server has them.

use posternctl::install::{
    CheckResult, InstallReading, InstallReport, RightAnswer, TunnelNumbers, wanted_rights,
};
use posternctl::output::TableOutput as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn node(name: &str, number: u8) -> Value {
    json!({
        "metadata": {"name": name}, "spec": {"podCIDRs": [format!("10.244.{number}.0/24")]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": format!("192.0.2.{number}")}],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "kubeProxyVersion": "", "machineID": "", "systemUUID": "",
                "kernelVersion": "6.18.5", "kubeletVersion": "v1.37.2", "operatingSystem": "linux",
                "osImage": "Debian GNU/Linux 13", "containerRuntimeVersion": "containerd://2.1.4",
            },
        },
    })
}

fn daemon_set(name: &str, ports: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c", "ports": ports}]}}},
    })
}

fn proxy(mode: &str) -> Value {
    let text = format!("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: \"{mode}\"\n");
    json!({"metadata": {"name": "kube-proxy"}, "data": {"config.conf": text}})
}

fn report(node: &str) -> Value {
    let holds = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "Checked", "message": "",
            "lastTransitionTime": "2026-11-23T03:00:00Z",
        })
    };
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": "NodeReport",
        "metadata": {"name": node}, "spec": {"nodeUID": "u"},
        "status": {
            "conditions": [holds("SecondLock"), holds("Preflight")],
            "capabilities": {"nftables": true, "tunnels": "Kernel"},
        },
    })
}

fn rights() -> Vec<RightAnswer> {
    let all = wanted_rights().into_iter();
    all.map(|right| RightAnswer {
        right,
        is_allowed: true,
    })
    .collect()
}

/// A cluster with kindnet, whose agents run and report: every check passes.
fn good() -> InstallReading {
    InstallReading {
        namespace_name: "postern-system".to_owned(),
        server_version: Ok("v1.37.2".to_owned()),
        nodes: Ok(vec![object(node("n1", 1)), object(node("n2", 2))]),
        daemon_sets: Ok(["kindnet", "kube-proxy"]
            .map(|name| object(daemon_set(name, &json!([]))))
            .into()),
        proxy_configuration: Ok(Some(object(proxy("nftables")))),
        services: Ok(Vec::new()),
        service_ranges: Ok(vec![object(json!({
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]},
        }))]),
        definitions: Ok(Vec::new()),
        namespace: Ok(None),
        operator: Ok(None),
        reports: Ok(vec![object(report("n1")), object(report("n2"))]),
        rights: Ok(rights()),
    }
}

fn judged(reading: &InstallReading) -> InstallReport {
    let tunnels = TunnelNumbers {
        ranges: ["198.18.0.0/15", "fd50:7374:726e:198::/64"]
            .map(|range| range.parse().expect("a range"))
            .into(),
        ports: 51850..=51899,
    };
    InstallReport::of(reading, &tunnels)
}

/// The checks that did not pass, each with its result and what was found.
fn others(reading: &InstallReading) -> Vec<(&'static str, CheckResult, String)> {
    let checks = judged(reading).checks.into_iter();
    checks
        .filter(|check| check.result != CheckResult::Passed)
        .map(|check| (check.check, check.result, check.found))
        .collect()
}

/// Asserts that this one check did not pass, that it names these words, and that it has something to do.
fn assert_only(reading: &InstallReading, check: &str, result: CheckResult, words: &str) {
    let report = judged(reading);
    let bad: Vec<_> = report
        .checks
        .iter()
        .filter(|one| one.result != CheckResult::Passed)
        .collect();
    let [one] = &bad[..] else {
        panic!("one of {check}, not {bad:?}");
    };
    assert_eq!((one.check, one.result), (check, result), "{one:?}");
    assert!(one.found.contains(words), "{one:?}");
    assert!(!one.to_do.is_empty(), "{one:?}");
}

#[test]
fn a_cluster_where_nothing_is_in_the_way_passes_every_check() {
    assert_eq!(others(&good()), []);
    let report = judged(&good());
    assert_eq!(report.result(), CheckResult::Passed);
    let table = report.table();
    assert!(
        table.ends_with("0 warnings, 0 refused, 0 unknown"),
        "{table}"
    );
    let said = serde_json::to_value(&report).expect("JSON");
    assert_eq!(said["checks"][0]["result"], "Passed");
}

#[test]
fn before_an_agent_runs_the_facts_of_nodes_are_unknown_and_their_command_is_named() {
    let mut reading = good();
    reading.reports = Ok(Vec::new());
    let report = judged(&reading);
    let unknown: Vec<_> = report
        .checks
        .iter()
        .filter(|check| check.result == CheckResult::Unknown)
        .collect();
    assert_eq!(unknown.len(), 4);
    for check in unknown {
        assert!(check.check.ends_with("on nodes"), "{check:?}");
        assert!(check.to_do.contains("postern-agent preflight"), "{check:?}");
    }
    assert_eq!(report.result(), CheckResult::Unknown);
}

#[test]
fn a_node_whose_agent_has_not_reported_is_named_and_never_counts_as_passed() {
    let mut reading = good();
    reading.reports = Ok(vec![object(report("n1"))]);
    let found = others(&reading);
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|(_, result, found)| {
        *result == CheckResult::Unknown && found.ends_with("no agent has reported: n2")
    }));
}

#[test]
fn what_a_node_reports_against_the_guard_is_in_the_check() {
    let mut bad = report("n2");
    bad["status"]["capabilities"]["nftables"] = json!(false);
    let mut reading = good();
    reading.reports = Ok(vec![object(report("n1")), object(bad)]);
    assert_only(
        &reading,
        "nft on nodes",
        CheckResult::Refused,
        "n2: nft cannot be used",
    );

    let mut bad = report("n2");
    let preflight = &mut bad["status"]["conditions"][1];
    preflight["status"] = json!("False");
    preflight["message"] = json!("marks: kube-proxy uses 0x4000");
    reading.reports = Ok(vec![object(report("n1")), object(bad)]);
    let check = "modules, marks and rules on nodes";
    let words = "n2: marks: kube-proxy uses 0x4000";
    assert_only(&reading, check, CheckResult::Warning, words);
}

#[test]
fn an_api_server_that_is_too_old_is_refused_and_one_without_service_ranges_warned_about() {
    let mut reading = good();
    reading.server_version = Ok("v1.31.4".to_owned());
    assert_only(&reading, "Kubernetes", CheckResult::Refused, "v1.31.4");
    reading.server_version = Ok("v1.32.9-gke.1".to_owned());
    assert_only(&reading, "Kubernetes", CheckResult::Warning, "ServiceCIDR");
}

#[test]
fn machines_that_were_not_tried_are_warned_about_by_the_check_of_what_differs() {
    for (path, value, check) in [
        ("kernelVersion", "5.4.0-generic", "kernel version"),
        ("kubeletVersion", "v1.30.1", "kubelets"),
        (
            "containerRuntimeVersion",
            "docker://27.0",
            "container runtime",
        ),
        ("operatingSystem", "windows", "operating system"),
    ] {
        let mut other = node("n2", 2);
        other["status"]["nodeInfo"][path] = json!(value);
        let mut reading = good();
        reading.nodes = Ok(vec![object(node("n1", 1)), object(other)]);
        let words = if path == "operatingSystem" {
            "n2"
        } else {
            value
        };
        assert_only(&reading, check, CheckResult::Warning, words);
    }
    let mut other = node("n2", 2);
    other["spec"] = json!({});
    let mut reading = good();
    reading.nodes = Ok(vec![object(node("n1", 1)), object(other)]);
    assert_only(&reading, "pod ranges of nodes", CheckResult::Warning, "n2");
}

#[test]
fn each_network_plugin_is_found_by_its_daemon_set() {
    use CheckResult::{Refused, Unknown, Warning};
    for (set, result, words) in [
        ("cilium", Refused, "Cilium"),
        ("calico-node", Warning, "Calico"),
        ("canal", Warning, "Calico"),
        ("kube-flannel-ds", Warning, "flannel"),
        ("aws-node", Warning, "AWS"),
        ("kube-router", Warning, "kube-router"),
        ("antrea-agent", Refused, "Antrea"),
        ("our-own", Unknown, "no DaemonSet of a known one"),
        (
            "cilium-operator-monitor",
            Unknown,
            "no DaemonSet of a known one",
        ),
    ] {
        let mut reading = good();
        reading.daemon_sets = Ok([set, "kube-proxy"]
            .map(|name| object(daemon_set(name, &json!([]))))
            .into());
        assert_only(&reading, "network plugin", result, words);
    }
}

#[test]
fn second_networks_and_caches_of_names_are_warned_about() {
    for (set, check) in [
        ("kube-multus-ds", "second networks"),
        ("node-local-dns", "cache of names"),
    ] {
        let mut reading = good();
        reading.daemon_sets = Ok(["kindnet", "kube-proxy", set]
            .map(|name| object(daemon_set(name, &json!([]))))
            .into());
        assert_only(&reading, check, CheckResult::Warning, set);
    }
}

#[test]
fn the_mode_of_kube_proxy_is_read_from_its_configuration() {
    for (mode, words) in [("ipvs", "mode ipvs"), ("", "iptables, the default")] {
        let mut reading = good();
        reading.proxy_configuration = Ok(Some(object(proxy(mode))));
        assert_only(&reading, "service proxy", CheckResult::Warning, words);
    }
    let mut reading = good();
    reading.daemon_sets = Ok(vec![object(daemon_set("kindnet", &json!([])))]);
    let words = "no DaemonSet kube-proxy";
    assert_only(&reading, "service proxy", CheckResult::Unknown, words);
}

#[test]
fn a_range_that_overlaps_the_tunnels_is_refused_with_its_owner() {
    let mut pods = node("n2", 2);
    pods["spec"]["podCIDRs"] = json!(["198.18.4.0/24"]);
    let mut address = node("n2", 2);
    address["status"]["addresses"][0]["address"] = json!("198.19.0.7");
    for (other, words) in [
        (pods, "198.18.4.0/24 of node n2"),
        (address, "198.19.0.7/32 of node n2"),
    ] {
        let mut reading = good();
        reading.nodes = Ok(vec![object(node("n1", 1)), object(other)]);
        assert_only(&reading, "tunnel ranges", CheckResult::Refused, words);
    }
    let mut reading = good();
    reading.service_ranges = Ok(vec![object(json!({
        "metadata": {"name": "more"}, "spec": {"cidrs": ["fd50:7374:726e::/48"]},
    }))]);
    assert_only(
        &reading,
        "tunnel ranges",
        CheckResult::Refused,
        "of the Services",
    );
}

#[test]
fn ports_of_tunnels_and_of_health_that_others_take_are_refused() {
    let service = |protocol: &str| {
        object(json!({
            "metadata": {"namespace": "games", "name": "world"},
            "spec": {"ports": [{"port": 1, "nodePort": 51860, "protocol": protocol}]},
        }))
    };
    let mut reading = good();
    reading.services = Ok(vec![service("UDP")]);
    let words = "51860 by Service games/world";
    assert_only(&reading, "tunnel ports", CheckResult::Refused, words);
    reading.services = Ok(vec![service("TCP")]);
    assert_eq!(others(&reading), []);

    let ports = json!([{"containerPort": 1, "hostPort": 9852}]);
    let mut reading = good();
    reading.daemon_sets = Ok(["kindnet", "kube-proxy", "exporter"]
        .map(|name| {
            object(daemon_set(
                name,
                if name == "exporter" {
                    &ports
                } else {
                    &Value::Null
                },
            ))
        })
        .into());
    let words = "9852 by DaemonSet exporter";
    assert_only(&reading, "health ports", CheckResult::Refused, words);
}

#[test]
fn rights_that_are_missing_are_named() {
    let mut reading = good();
    let mut answers = rights();
    answers[1].is_allowed = false;
    reading.rights = Ok(answers);
    let words = "create customresourcedefinitions.apiextensions.k8s.io";
    assert_only(&reading, "your rights", CheckResult::Refused, words);
}

#[test]
fn a_namespace_that_refuses_pods_on_the_hosts_network_is_refused_with_the_command() {
    let namespace = |labels: Value| {
        Ok(Some(object(json!({
            "metadata": {"name": "postern-system", "labels": labels},
        }))))
    };
    let mut reading = good();
    reading.namespace = namespace(json!({"pod-security.kubernetes.io/enforce": "baseline"}));
    assert_only(
        &reading,
        "namespace",
        CheckResult::Refused,
        "level baseline",
    );
    reading.namespace = namespace(json!({}));
    assert_only(
        &reading,
        "namespace",
        CheckResult::Warning,
        "names no Pod Security level",
    );
    reading.namespace = namespace(json!({"pod-security.kubernetes.io/enforce": "privileged"}));
    assert_eq!(others(&reading), []);
}

#[test]
fn definitions_of_before_are_warned_about_and_those_that_go_or_differ_refused() {
    let definition = |version: &str, more: Value| {
        let mut found = json!({
            "metadata": {"name": "exitnodes.postern.dev"},
            "spec": {
                "group": "postern.dev", "scope": "Cluster", "names": {"kind": "ExitNode", "plural": "exitnodes"},
                "versions": [{"name": version, "served": true, "storage": true}],
            },
        });
        if let (Some(metadata), Some(more)) = (found["metadata"].as_object_mut(), more.as_object())
        {
            metadata.extend(more.clone());
        }
        Ok(vec![object(found)])
    };
    let mut reading = good();
    reading.definitions = definition("v1alpha1", json!({}));
    assert_only(
        &reading,
        "definitions",
        CheckResult::Warning,
        "there already",
    );
    reading.definitions = definition("v2", json!({}));
    assert_only(
        &reading,
        "definitions",
        CheckResult::Refused,
        "exitnodes.postern.dev",
    );
    reading.definitions = definition(
        "v1alpha1",
        json!({"deletionTimestamp": "2026-11-23T03:00:00Z"}),
    );
    assert_only(
        &reading,
        "definitions",
        CheckResult::Refused,
        "being deleted",
    );
}

#[test]
fn another_version_that_runs_is_named() {
    let operator = |image: &str| {
        Ok(Some(object(json!({
            "metadata": {"name": "postern-operator"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "operator", "image": image}]}}},
        }))))
    };
    let mut reading = good();
    reading.operator = operator("registry.example.com/postern-operator:0.0.9");
    assert_only(&reading, "installed version", CheckResult::Warning, "0.0.9");
    reading.operator = operator(concat!("postern-operator:", env!("CARGO_PKG_VERSION")));
    assert_eq!(others(&reading), []);
}

#[test]
fn a_part_that_may_not_be_read_is_unknown_and_hides_no_other() {
    let mut reading = good();
    reading.service_ranges = Err("the right to list servicecidrs is missing".to_owned());
    assert_only(
        &reading,
        "tunnel ranges",
        CheckResult::Warning,
        "ServiceCIDR objects were not read",
    );
    let mut reading = good();
    reading.daemon_sets = Err("the right to list daemonsets.apps is missing".to_owned());
    let found = others(&reading);
    assert_eq!(found.len(), 6);
    assert!(found.iter().all(|(_, result, found)| {
        *result == CheckResult::Unknown && found.contains("list daemonsets.apps")
    }));
}
