//! What an administrator does: the commands of docs/install.md.

use std::time::Duration;

use postern_e2e::lab::sandbox::command;
use postern_e2e::lab::{Binaries, Exec, Lab, wait_until};

use crate::chart::{chart, repository};

const NAMESPACE: &str = "postern-system";

/// How long a pod or a kubelet may take to start.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a rollout may take; the operators' probes alone take 10 seconds.
const ROLLOUT: &str = "--timeout=180s";

pub(super) struct Steps<'a>(pub(super) &'a Lab);

impl Steps<'_> {
    fn kubectl(&self, arguments: &[&str]) -> String {
        self.0.kubectl_ok(arguments).unwrap()
    }

    fn in_namespace(&self, arguments: &[&str]) -> String {
        self.kubectl(&[&["-n", NAMESPACE], arguments].concat())
    }

    fn helm(&self, arguments: &[&str]) {
        let arguments = [arguments, &["--namespace", NAMESPACE]].concat();
        command::run(&mut self.0.helm(&arguments).unwrap()).unwrap();
    }

    fn roll_out(&self) {
        let objects = ["deployment/postern-operator", "daemonset/postern-agent"];
        for object in objects {
            self.in_namespace(&["rollout", "status", object, ROLLOUT]);
        }
    }

    /// Up to nodes that are sealed and a cluster that runs pods: the startup taint is off every node.
    pub(super) fn install(&self) {
        self.helm(&["install", "postern", &chart(), "--create-namespace"]);
        self.roll_out();
        self.0.mount_trust_when_there().unwrap();
        let sealed = [
            "wait",
            "--for=condition=FailClosed",
            "nodereports",
            "--all",
            "--timeout=60s",
        ];
        self.kubectl(&sealed);
        let resolver = [
            "-n",
            "kube-system",
            "rollout",
            "status",
            "deployment/coredns",
            ROLLOUT,
        ];
        self.kubectl(&resolver);
        // The lock needs the pods' ranges of a node, and a node that has never had a pod does not know them.
        for (condition, report) in [
            ("Verified", "nodereports/n1"),
            ("Verified", "nodereports/gw-1"),
            ("Preflight", "nodereports/n1"),
            ("Preflight", "nodereports/gw-1"),
            ("SecondLock", "nodereports/n1"),
        ] {
            let wanted = format!("--for=condition={condition}");
            self.kubectl(&["wait", &wanted, report, "--timeout=60s"]);
        }
    }

    pub(super) fn apply_samples(&self) {
        let samples = repository("deploy/samples").display().to_string();
        self.kubectl(&["apply", "-f", &samples]);
        let policy = ["egresspolicy/crawler", "-n", "crawlers", "--timeout=60s"];
        self.kubectl(&[&["wait", "--for=condition=Ready"], &policy[..]].concat());
    }

    /// Deletes the pod of a component on a node, and waits for the next one.
    pub(super) fn replace(&self, component: &str, node: &str) {
        let former = self.pod(component, node);
        self.in_namespace(&["delete", "pod", &former]);
        let next = wait_until(START_DEADLINE, "the next pod of the component", || {
            Ok(self
                .pods(component, node)
                .into_iter()
                .find(|pod| *pod != former))
        });
        let pod = format!("pod/{}", next.unwrap());
        self.in_namespace(&["wait", "--for=condition=Ready", &pod, "--timeout=120s"]);
    }

    fn pod(&self, component: &str, node: &str) -> String {
        self.pods(component, node).pop().unwrap()
    }

    fn pods(&self, component: &str, node: &str) -> Vec<String> {
        let selector = format!("app.kubernetes.io/component={component}");
        let field = format!("spec.nodeName={node}");
        let arguments = [
            "get",
            "pod",
            "-l",
            &selector,
            "--field-selector",
            &field,
            "-o",
            "name",
        ];
        let names = self.in_namespace(&arguments);
        let names = names.lines().map(|name| name.strip_prefix("pod/").unwrap());
        names.map(str::to_owned).collect()
    }

    pub(super) fn restart_kubelet(&self, node: &str) {
        self.0.kill(&format!("kubelet-{node}")).unwrap();
        let renewed = || {
            let lease = ["get", "lease", node, "-n", "kube-node-lease", "-o"];
            self.kubectl(&[&lease[..], &["jsonpath={.spec.renewTime}"]].concat())
        };
        let last = renewed();
        self.0.restart_kubelet(node).unwrap();
        wait_until(START_DEADLINE, "the lease of the kubelet", || {
            Ok((renewed() != last).then_some(()))
        })
        .unwrap();
    }

    /// Another template for every pod of operator and agent, as another version has.
    pub(super) fn upgrade(&self) {
        let annotations = r#"podAnnotations={"example.com/release":"2"}"#;
        let [operator, agent] = ["operator", "agent"].map(|part| format!("{part}.{annotations}"));
        let values = ["--set-json", &operator, "--set-json", &agent];
        self.helm(&[&["upgrade", "postern", &chart()], &values[..]].concat());
        self.roll_out();
    }

    /// docs/install.md, "Remove", step by step.
    pub(super) fn remove(&self, nodes: &[&str]) {
        self.kubectl(&["delete", "egresspolicies", "--all", "--all-namespaces"]);
        let labelled = ["label", "namespace", "--all", "postern.dev/egress-default-"];
        self.kubectl(&labelled);
        let released = [
            "-n",
            "crawlers",
            "wait",
            "--for=delete",
            "egresspolicies",
            "--all",
        ];
        self.kubectl(&released);
        self.await_released();

        self.in_namespace(&["scale", "deployment", "postern-operator", "--replicas=0"]);
        let operators = "app.kubernetes.io/component=operator";
        self.in_namespace(&[
            "wait",
            "--for=delete",
            "pod",
            "-l",
            operators,
            "--timeout=60s",
        ]);

        let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"plugin","$patch":"delete"}]}}}}"#;
        self.in_namespace(&["patch", "daemonset", "postern-agent", "-p", patch]);
        self.in_namespace(&["rollout", "status", "daemonset/postern-agent", ROLLOUT]);
        for node in nodes {
            let program = "/opt/cni/bin/postern-cni";
            self.on(
                node,
                &[program, "remove", "--configuration-folder=/etc/cni/net.d"],
            );
            let pod = self.pod("agent", node);
            let release = ["postern-agent", "release", "--reason", "uninstall"];
            self.in_namespace(&[&["exec", &pod, "-c", "agent", "--"], &release[..]].concat());
        }
        self.in_namespace(&["delete", "daemonset", "postern-agent", "postern-tunnel"]);
        for component in ["agent", "tunnel"] {
            let selector = format!("app.kubernetes.io/component={component}");
            self.in_namespace(&[
                "wait",
                "--for=delete",
                "pod",
                "-l",
                &selector,
                "--timeout=60s",
            ]);
        }
        let agent = Binaries::locate().unwrap().path("postern-agent");
        for node in nodes {
            self.on(node, &[&agent.display().to_string(), "cleanup"]);
        }
        self.helm(&["uninstall", "postern"]);
        for node in nodes {
            let folders = "rm -r /var/lib/postern/* /run/postern/* /opt/cni/bin/postern-cni";
            self.on(node, &["sh", "-c", folders]);
        }
    }

    /// A node that no policy needs any more has an intent without scopes.
    fn await_released(&self) {
        for node in ["n1", "gw-1"] {
            self.0
                .await_report(node, "no scope in the report", |status| {
                    status["scopes"].as_array().is_none_or(Vec::is_empty)
                })
                .unwrap();
        }
    }

    fn on(&self, node: &str, program: &[&str]) {
        self.0.exec_ok(Exec::Node(node), program).unwrap();
    }
}
