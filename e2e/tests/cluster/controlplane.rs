//! The lab on a real API server: it comes up, it is disturbed on purpose, and nothing of it stays.
//!
//! `cargo test -p postern-e2e --features cluster --test cluster controlplane::`, as root; the first run builds Kubernetes.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use postern_e2e::LabError;
use postern_e2e::cluster::{
    self, Api, BoundPod, Bump, Fault, Tools, endpoint, kubeconfigs, write_kubeconfig,
};
use postern_e2e::lab::error::chain;
use postern_e2e::lab::sandbox::cgroup::Cgroup;
use postern_e2e::lab::{Exec, PodOptions, Programs, TrafficPolicy, UpOptions};
use postern_e2e::proof::harness::{TestLab, wait_until};
use serde_json::{Value, json};

use crate::plane::get;

const DEADLINE: Duration = Duration::from_secs(30);

fn cluster() -> TestLab {
    TestLab::up(&UpOptions::on_api_server(2, Programs::Bare)).unwrap()
}

/// What kubectl complains about when it fails.
fn complaint(lab: &TestLab, arguments: &[&str]) -> String {
    chain(&lab.kubectl_ok(arguments).unwrap_err())
}

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
fn nodes_and_definitions_are_there_and_a_bad_policy_is_refused_with_its_message() {
    let lab = cluster();
    let nodes = get(&lab, &["nodes", "n1", "gw-1"]).unwrap();
    for (object, node) in nodes["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["n1", "gw-1"])
    {
        let node = lab.node(node).unwrap();
        assert_eq!(object["metadata"]["uid"], node.uid);
        assert_eq!(
            object["spec"]["podCIDRs"],
            json!([node.pods4(), node.pods6()])
        );
        assert_eq!(
            object["status"]["addresses"][1]["address"],
            json!(node.ipv6())
        );
        assert_eq!(object["spec"].get("taints"), None);
    }
    assert_eq!(
        nodes["items"][1]["metadata"]["labels"]["postern.dev/exit"],
        "gw-1"
    );
    for name in ["exitnodes", "egresspolicies", "nodeintents", "nodereports"] {
        let definition = get(&lab, &["crd", &format!("{name}.postern.dev")]).unwrap();
        let conditions = definition["status"]["conditions"].as_array().unwrap();
        let holds = |condition: &&Value| condition["type"] == "Established";
        let established = conditions.iter().find(holds).unwrap();
        assert_eq!(established["status"], "True", "{name}");
    }
    let policy = |more: &str| {
        format!(
            "apiVersion: postern.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{name: p, namespace: default}}\n\
             spec:\n  podSelector: {{}}\n  defaultAction: Allow\n  route: {{type: Exit, exitNodes: [{{name: eu}}]}}\n{more}"
        )
    };
    let refused = lab
        .apply_yaml(&policy("  failOpenAfter: 30s\n"))
        .unwrap_err();
    let message =
        "failOpenAfter is for failureMode Open only; leave it out, or write failureMode: Open";
    assert!(chain(&refused).contains(message), "{}", chain(&refused));
    lab.apply_yaml(&policy("")).unwrap();
    let stored = lab.object("EgressPolicy", "default", "p").unwrap().unwrap();
    assert_eq!(stored["metadata"]["generation"], 1);
    lab.delete_yaml(&policy("")).unwrap();
    assert_eq!(lab.object("EgressPolicy", "default", "p").unwrap(), None);
}

#[test]
fn pods_follow_their_objects_whoever_makes_and_deletes_them() {
    let lab = cluster();
    let runs = |uid: &str| lab.runs(&format!("pod-{uid}")).unwrap();
    let web = lab
        .pod_on("shop/web", &PodOptions::on("n1").label("app", "web"))
        .unwrap();
    let object = lab.object("Pod", "shop", "web").unwrap().unwrap();
    assert_eq!(object["metadata"]["uid"], web.uid);
    assert_eq!(object["spec"]["nodeName"], "n1");
    assert_eq!(object["status"]["phase"], "Running");
    assert_eq!(object["status"]["podIPs"][1]["ip"], json!(web.addresses[1]));
    assert!(matches!(
        lab.pod_on("shop/web", &PodOptions::on("n1")).unwrap_err(),
        LabError::PodExists { .. }
    ));
    lab.delete_pod("shop/web").unwrap();
    assert!(!runs(&web.uid));
    assert_eq!(lab.object("Pod", "shop", "web").unwrap(), None);
    assert!(matches!(
        lab.delete_pod("shop/web").unwrap_err(),
        LabError::NoPod { .. }
    ));

    // Made and deleted by others, on a node that the lab has.
    let other = "apiVersion: v1\nkind: Pod\nmetadata: {name: other, namespace: shop}\nspec:\n  nodeName: gw-1\n  \
                 containers: [{name: main, image: none, command: [sleep], args: ['1000']}]\n";
    lab.apply_yaml(other).unwrap();
    let other = wait_until(DEADLINE, "the pod that kubectl made", || {
        Ok(lab.pod("shop/other").ok())
    });
    let other = other.unwrap();
    lab.kubectl_ok(&[
        "-n",
        "shop",
        "wait",
        "pod/other",
        "--for=condition=Ready",
        "--timeout=30s",
    ])
    .unwrap();
    assert!(runs(&other.uid));
    lab.exec_ok(
        Exec::Pod("shop/other"),
        &["ping", "-c1", "-W2", &other.world[0].to_string()],
    )
    .unwrap();
    let last = lab.pod_on("shop/last", &PodOptions::on("n1")).unwrap();
    lab.kubectl_ok(&["delete", "namespace", "shop", "--timeout=60s"])
        .unwrap();
    for pod in [&other, &last] {
        assert!(
            !runs(&pod.uid) && lab.pod(&pod.key()).is_err(),
            "{}",
            pod.key()
        );
        assert!(
            !lab.namespace(&pod.sandbox()).path().exists(),
            "{}",
            pod.key()
        );
    }
}

#[test]
fn a_pod_of_the_host_network_has_its_nodes_addresses_and_a_token_that_names_the_node() {
    let lab = cluster();
    lab.apply_yaml(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: agent, namespace: default}\nspec:\n  nodeName: n1\n  \
         hostNetwork: true\n  containers: [{name: main, image: none}]\n",
    )
    .unwrap();
    lab.kubectl_ok(&[
        "wait",
        "pod/agent",
        "--for=condition=Ready",
        "--timeout=30s",
    ])
    .unwrap();
    let pod = lab.object("Pod", "default", "agent").unwrap().unwrap();
    let node = lab.node("n1").unwrap();
    assert_eq!(pod["status"]["podIP"], json!(node.ipv4()));
    let bound = BoundPod {
        name: "agent",
        uid: pod["metadata"]["uid"].as_str().unwrap(),
    };
    let token = cluster::token(&lab, "default", "default", Some(bound)).unwrap();
    let path = lab.dir().join("agent.kubeconfig");
    write_kubeconfig(&lab, &path, "agent", &token).unwrap();
    // Asked from the node itself, by the way that agents go.
    let kubectl = Tools::of(&lab).unwrap().program("kubectl").unwrap();
    let arguments = [
        "--kubeconfig",
        path.to_str().unwrap(),
        "auth",
        "whoami",
        "-o",
        "json",
    ];
    let asked = [&[kubectl.to_str().unwrap()], &arguments[..]].concat();
    let said = lab.exec_ok(Exec::Node("n1"), &asked).unwrap();
    let who: Value = serde_json::from_str(&said).unwrap();
    let extra = &who["status"]["userInfo"]["extra"];
    assert_eq!(
        extra["authentication.kubernetes.io/node-name"],
        json!(["n1"])
    );
    assert_eq!(
        extra["authentication.kubernetes.io/node-uid"],
        json!([node.uid])
    );
    assert_eq!(endpoint(&lab).url, "https://192.168.10.2:6443");
    let wrong = BoundPod {
        uid: "another",
        ..bound
    };
    assert!(cluster::token(&lab, "default", "default", Some(wrong)).is_err());
}

#[test]
fn services_are_objects_and_the_address_of_the_api_server_leads_to_it_from_a_pod() {
    let lab = cluster();
    let pod = lab.pod_on("default/web", &PodOptions::on("n1")).unwrap();
    let address = Some("10.96.0.10".parse().unwrap());
    lab.create_service(
        "web",
        address,
        80,
        (pod.addresses[0], 8080),
        TrafficPolicy::Cluster,
    )
    .unwrap();
    lab.create_service(
        "six",
        None,
        30080,
        (pod.addresses[1], 8080),
        TrafficPolicy::Local,
    )
    .unwrap();
    let [web, six] =
        ["web", "six"].map(|name| lab.object("Service", "default", name).unwrap().unwrap());
    assert_eq!(web["spec"]["clusterIP"], "10.96.0.10");
    assert_eq!(six["spec"]["ipFamilies"], json!(["IPv6"]));
    assert_eq!(six["spec"]["ports"][1]["nodePort"], 30080);
    let slice = get(&lab, &["endpointslice", "web"]).unwrap();
    assert_eq!(
        slice["endpoints"][0]["addresses"],
        json!([pod.addresses[0]])
    );
    lab.delete_service("web").unwrap();
    assert_eq!(lab.object("Service", "default", "web").unwrap(), None);
    let probe = "exec 3<>/dev/tcp/10.96.0.1/443";
    lab.exec_ok(
        Exec::Pod("default/web"),
        &["timeout", "5", "bash", "-c", probe],
    )
    .unwrap();
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
    wait_until(DEADLINE, "two watches", || {
        let watches = lab.watches()?;
        let open = |address: &String| watches.iter().any(|watch| watch.address == *address);
        Ok(nodes.iter().all(open).then_some(()))
    })
    .unwrap();
    assert_eq!(lab.cut_watches("n1").unwrap(), 1);
    wait_until(DEADLINE, "the end of the watch that was cut", || {
        Ok(watchers[0].try_wait().unwrap())
    })
    .unwrap();
    let left = lab.watches().unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].address, nodes[1]);
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
    // The folder is the test's own: it goes with an empty lab in it.
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
