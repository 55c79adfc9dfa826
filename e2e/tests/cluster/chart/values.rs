//! Each value changes the field that it names, and a wrong one is refused.

use std::collections::BTreeSet;

use postern_e2e::lab::sandbox::command;
use serde_json::{Value, json};

use super::{NAMESPACE, chart, helm, rendered, repository};

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
fn a_collector_is_named_to_the_agent_only_where_the_values_name_one() {
    let agent = |values: &[&str]| {
        let chart = rendered(NAMESPACE, values);
        chart["DaemonSet egress postern-agent"]["spec"]["template"]["spec"]["containers"][0].clone()
    };
    let addresses = |agent: &Value| {
        let variables = agent["env"].as_array().unwrap().iter();
        variables.filter(|one| one["name"] == "HOST_IP").count()
    };
    let without = agent(&[]);
    assert!(!without["args"].to_string().contains("otlp"), "{without}");
    assert_eq!(addresses(&without), 0);
    let named = r#"agent.otlpEndpoint="http://$(HOST_IP):4317""#;
    for values in [
        &[named][..],
        &[named, "monitoring.podMonitors.enabled=true"],
    ] {
        let with = agent(values);
        let arguments = with["args"].as_array().unwrap();
        let argument = json!("--otlp-endpoint=http://$(HOST_IP):4317");
        assert!(arguments.contains(&argument), "{arguments:?}");
        assert_eq!(addresses(&with), 1, "{with}");
    }
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
fn monitoring_brings_its_objects_and_a_port_of_each_node_only_where_the_values_say_so() {
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let chart = rendered(
        NAMESPACE,
        &[
            "monitoring.podMonitors.enabled=true",
            "monitoring.podMonitors.agentPort=19855",
            "monitoring.podMonitors.operatorPort=19856",
            r#"monitoring.podMonitors.labels={"release":"prometheus"}"#,
            "monitoring.rules.enabled=true",
            "monitoring.dashboard.enabled=true",
        ],
    );
    for (program, port) in [
        ("DaemonSet egress postern-agent", 19855),
        ("Deployment egress postern-operator", 19856),
    ] {
        let container = &chart[program]["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].to_string();
        assert!(
            arguments.contains("--scrape-address=$(HOST_IP)"),
            "{arguments}"
        );
        assert!(
            arguments.contains(&format!("--scrape-port={port}")),
            "{arguments}"
        );
        assert!(container["env"].to_string().contains("status.hostIP"));
    }
    let agent = &chart["PodMonitor egress postern-agent"];
    assert_eq!(agent["metadata"]["labels"]["release"], "prometheus");
    let operator = chart["PodMonitor egress postern-operator"].to_string();
    assert!(operator.contains("${1}:19856"), "{operator}");
    let rules: Value = serde_saphyr::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    assert_eq!(chart["PrometheusRule egress postern"]["spec"], rules);
    let dashboard = &chart["ConfigMap egress postern-dashboard"];
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(
        dashboard["data"]["postern.json"],
        read("deploy/monitoring/dashboard.json")
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
        ("agent.otlpEndpoint=null", "'otlpEndpoint'"),
        (
            r#"agent.otlpEndpoint="https://collector:4317""#,
            "'/agent/otlpEndpoint'",
        ),
        ("agent.plugin.install=null", "'install'"),
        ("definitions.keep=null", "'keep'"),
        ("startupTaint.enabled=null", "'enabled'"),
        ("operator.image.repository=null", "'repository'"),
        ("operator.replicas=null", "'replicas'"),
        ("settings=null", "'settings'"),
        (
            "monitoring.podMonitors.agentPort=80",
            "'/monitoring/podMonitors/agentPort'",
        ),
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
