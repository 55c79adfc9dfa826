//! Faults, watches that end, a store that is set back, and the end of the lab.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use postern_e2e::LabError;
use postern_e2e::cluster::{self, Api, Bump, Fault, Tools, kubeconfigs};
use postern_e2e::lab::sandbox::cgroup::Cgroup;
use postern_e2e::lab::{Lab, PodOptions};
use postern_e2e::proof::harness::{TestLab, wait_until};
use serde_json::Value;

use crate::controlplane::start::{DEADLINE, cluster, complaint};

/// A kubectl that watches namespaces from a node by the way of agents.
fn watcher(lab: &TestLab, node: &str) -> Child {
    let kubectl = Tools::of(lab).unwrap().program("kubectl").unwrap();
    let mut command = lab.node_namespace(node).command(kubectl);
    command.args(["--context", "front", "get", "namespaces", "--watch-only"]);
    command
        .env("KUBECONFIG", kubeconfigs(lab).inside)
        .env("KUBECACHEDIR", lab.plane_dir().join("cache"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_fault_is_answered_to_clients_and_counted_and_the_lab_itself_never_meets_it() {
    let lab = cluster();
    let fault = |code, verb: Option<&str>| Fault {
        code,
        rate: 1.0,
        user_agent: Some("kubectl".to_owned()),
        verb: verb.map(str::to_owned),
        resource: None,
    };
    let front = ["--context", "front", "get", "pods", "-A"];
    lab.reset_requests().unwrap();
    lab.kubectl_ok(&front).unwrap();
    lab.set_fault(&fault(500, None)).unwrap();
    let said = complaint(&lab, &front);
    assert!(
        said.contains("Internal error occurred: injected by the lab"),
        "{said}"
    );
    lab.kubectl_ok(&["get", "pods", "-A"]).unwrap();
    lab.set_fault(&fault(409, None)).unwrap();
    lab.kubectl_ok(&front).unwrap();
    let said = complaint(&lab, &["--context", "front", "create", "namespace", "x"]);
    assert!(said.contains("already exists"), "{said}");
    lab.set_fault(&fault(503, Some("watch"))).unwrap();
    lab.kubectl_ok(&front).unwrap();
    assert!(lab.set_fault(&fault(404, None)).is_err());
    lab.clear_fault().unwrap();
    lab.kubectl_ok(&["--context", "front", "create", "namespace", "x"])
        .unwrap();
    let counts = lab.requests().unwrap();
    let row = |verb: &str, resource: &str| {
        let fits = |row: &&cluster::RequestCount| row.verb == verb && row.resource == resource;
        counts.requests.iter().find(fits).unwrap().clone()
    };
    let (lists, creates) = (row("list", "pods"), row("create", "namespaces"));
    assert_eq!(
        (lists.requests, lists.faults, lists.open),
        (4, 1, 0),
        "{lists:?}"
    );
    assert_eq!((lists.codes[&200], lists.codes[&500]), (3, 1), "{lists:?}");
    assert_eq!(
        (creates.codes[&201], creates.codes[&409]),
        (1, 1),
        "{creates:?}"
    );
    assert!(creates.request_bytes > 0 && lists.response_bytes > creates.response_bytes);
    assert!(lists.user_agent.starts_with("kubectl/v1."), "{lists:?}");
}

#[test]
fn watches_of_one_node_are_cut_and_those_of_others_stay() {
    let lab = cluster();
    let mut watchers = ["n1", "gw-1"].map(|node| watcher(&lab, node));
    let nodes = ["n1", "gw-1"].map(|name| lab.node(name).unwrap().ipv4().to_string());
    // Each node's kube-proxy watches too, and watches again when it is cut.
    let of_kubectl = |lab: &Lab| {
        let watches = lab.watches().unwrap().into_iter();
        let watches = watches.filter(|watch| watch.user_agent.starts_with("kubectl/"));
        watches.map(|watch| watch.address).collect::<Vec<_>>()
    };
    wait_until(DEADLINE, "two watches", || {
        let open = of_kubectl(&lab);
        Ok(nodes.iter().all(|node| open.contains(node)).then_some(()))
    })
    .unwrap();
    assert!(lab.cut_watches("n1").unwrap() >= 1);
    wait_until(DEADLINE, "the end of the watch that was cut", || {
        Ok(watchers[0].try_wait().unwrap())
    })
    .unwrap();
    assert_eq!(of_kubectl(&lab), nodes[1..]);
    assert!(watchers[1].try_wait().unwrap().is_none());
    watchers[1].kill().unwrap();
    watchers[1].wait().unwrap();
}

#[test]
fn a_restored_snapshot_takes_back_what_came_later_and_a_stopped_api_server_comes_back() {
    let lab = cluster();
    let file = lab.dir().join("snapshot.db");
    lab.kubectl_ok(&["create", "namespace", "before"]).unwrap();
    lab.snapshot_etcd(&file).unwrap();
    lab.kubectl_ok(&["create", "namespace", "after"]).unwrap();
    assert!(lab.object("Namespace", "", "after").unwrap().is_some());
    let nonsense = lab.dir().join("lab.json");
    assert!(lab.restore_etcd(&nonsense, Bump::Keep).is_err());
    assert!(lab.object("Namespace", "", "after").unwrap().is_some());
    lab.restore_etcd(&file, Bump::Keep).unwrap();
    assert_eq!(lab.object("Namespace", "", "after").unwrap(), None);
    assert!(lab.object("Namespace", "", "before").unwrap().is_some());
    let version = |lab: &TestLab| -> u64 {
        let list = Api::of(lab).get("/api/v1/namespaces").unwrap().unwrap();
        list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    lab.restore_etcd(&file, Bump::By(1_000_000)).unwrap();
    assert!(version(&lab) > 1_000_000);
    // The kubelet has followed it all.
    lab.pod_on("before/web", &PodOptions::on("n1")).unwrap();

    lab.stop_api_server().unwrap();
    let said = complaint(&lab, &["--context", "front", "get", "namespaces"]);
    assert!(said.contains("refused"), "{said}");
    assert!(
        lab.runs(&format!("pod-{}", lab.pod("before/web").unwrap().uid))
            .unwrap()
    );
    lab.restart_api_server().unwrap();
    lab.kubectl_ok(&["--context", "front", "get", "namespaces"])
        .unwrap();
    lab.stop_etcd().unwrap();
    assert!(!lab.runs("etcd").unwrap());
    assert!(
        lab.kubectl_ok(&["get", "namespaces", "--request-timeout=2s"])
            .is_err()
    );
    lab.restart_etcd().unwrap();
    wait_until(DEADLINE, "an API server with its store", || {
        Ok(Api::of(&lab).is_ready().then_some(()))
    })
    .unwrap();
    lab.delete_pod("before/web").unwrap();
}

#[test]
fn the_kubeconfig_leads_in_from_outside_and_down_leaves_nothing() {
    let lab = cluster();
    let kubectl = Tools::of(&lab).unwrap().program("kubectl").unwrap();
    let outside = kubeconfigs(&lab).outside;
    for context in ["lab", "front"] {
        let mut command = Command::new(&kubectl);
        command.args(["--context", context, "get", "nodes", "-o", "name"]);
        let output = command
            .env("KUBECONFIG", &outside)
            .env("KUBECACHEDIR", lab.plane_dir().join("cache"))
            .output()
            .unwrap();
        assert_eq!(
            output.stdout, b"node/gw-1\nnode/n1\n",
            "{context}: {output:?}"
        );
    }
    assert!(lab.needs_standalone("publisher").is_err());
    lab.pod_on("default/web", &PodOptions::on("n1")).unwrap();
    let ports: Value =
        serde_json::from_slice(&std::fs::read(lab.plane_dir().join("forward.json")).unwrap())
            .unwrap();
    let port = u16::try_from(ports["lab"].as_u64().unwrap()).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    let state = lab.state().unwrap();
    let dir = lab.dir().to_owned();
    lab.down().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!Cgroup::at(&state.cgroup).path().exists() && !dir.exists());
    for (name, process) in &state.processes {
        assert!(!process.alive() || process.is_zombie(), "{name} lives");
    }
    // The folder belongs to the test: it is removed with an empty lab in it.
    std::mem::forget(lab);
}

#[test]
fn verbs_of_an_api_server_are_refused_without_one() {
    let lab = TestLab::bare().unwrap();
    let refused =
        |error: LabError| assert!(matches!(error, LabError::NeedsApiServer { .. }), "{error}");
    refused(lab.kubectl_ok(&["get", "nodes"]).unwrap_err());
    refused(lab.stop_api_server().unwrap_err());
    refused(lab.requests().unwrap_err());
    refused(lab.cut_watches("n1").unwrap_err());
    refused(lab.snapshot_etcd(&lab.dir().join("x")).unwrap_err());
    assert!(lab.needs_standalone("publisher").is_ok());
}
