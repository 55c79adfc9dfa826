//! Objects of the API server, and the pods, services and nodes that follow them.

use postern_e2e::LabError;
use postern_e2e::cluster::{self, BoundPod, Tools, endpoint, write_kubeconfig};
use postern_e2e::lab::error::chain;
use postern_e2e::lab::{Exec, PodOptions, TrafficPolicy};
use postern_e2e::proof::harness::wait_until;
use serde_json::{Value, json};

use crate::controlplane::start::{DEADLINE, cluster};
use crate::plane::get;

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
