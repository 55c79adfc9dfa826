//! containerd and the kubelet of a node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::cluster::kubeconfig::write_kubeconfig;
use crate::cluster::nodes::images::PAUSE;
use crate::cluster::{Tools, cached_nodes, start};
use crate::lab::sandbox::{command, process};
use crate::lab::topology::{self, Node};
use crate::lab::{Lab, LabError, uid, wait_until};

/// Where containerd answers, inside of the node.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// How long containerd may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A node that runs pods before it is sealed would run them unguarded: docs/install.md, "New nodes".
const STARTUP_TAINT: &str = "postern.dev/not-sealed";

/// The name and the group of a node's user, as the API server's own authorization knows them.
pub(in crate::cluster) fn node_user(node: &str) -> String {
    format!("system:node:{node}")
}

impl Lab {
    pub(super) fn start_scheduler(&self) -> Result<(), LabError> {
        let mut command = vec![Tools::of(self)?.program("kube-scheduler")?.into_os_string()];
        start::flags(
            &mut command,
            [
                (
                    "kubeconfig",
                    self.plane_dir().join("scheduler.kubeconfig").into(),
                ),
                ("bind-address", "127.0.0.1".into()),
                ("leader-elect", "false".into()),
            ],
        );
        self.start("kube-scheduler", &self.namespace("cp"), command)
    }

    /// Starts the container runtime of a node, unless it runs, and waits until it answers.
    pub(super) fn start_container_runtime(&self, node: &Node) -> Result<(), LabError> {
        let path = self.node_dir(&node.name).join("etc/containerd/config.toml");
        self.write_below(&path, &containerd_configuration())?;
        self.start_on_node(
            node,
            "containerd",
            &["containerd", "-c", "/etc/containerd/config.toml"],
        )?;
        let what = format!("an answer of containerd on {}", node.name);
        wait_until(START_DEADLINE, &what, || {
            Ok(command::run(&mut self.ctr(node, ["version"]))
                .ok()
                .map(drop))
        })
    }

    /// containerd's own client, which knows the images and containers of Kubernetes by the namespace k8s.io.
    fn ctr<'a>(
        &self,
        node: &Node,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> std::process::Command {
        let mut ctr = self.node_namespace(&node.name).command("ctr");
        ctr.args(["--address", SOCKET, "--namespace", "k8s.io"])
            .args(arguments);
        ctr
    }

    pub(super) fn import_images(&self, node: &Node, archives: &[PathBuf]) -> Result<(), LabError> {
        for archive in archives {
            let mut import = self.ctr(node, ["images", "import"]);
            command::run(import.arg(archive))?;
        }
        Ok(())
    }

    /// Starts the kubelet of a node, unless it runs. It registers the node by itself.
    pub(super) fn start_upstream_kubelet(
        &self,
        node: &Node,
        program: &Path,
    ) -> Result<(), LabError> {
        let folder = self.node_dir(&node.name);
        let kubeconfig = folder.join("kubelet.kubeconfig");
        let token = self
            .plane_dir()
            .join(format!("kubelet-{}.token", node.name));
        let token = std::fs::read_to_string(&token).map_err(LabError::file("read", token))?;
        write_kubeconfig(self, &kubeconfig, &node_user(&node.name), &token)?;
        let configuration = folder.join("kubelet.json");
        let text = kubelet_configuration(&self.node_cgroup(node)?).to_string();
        self.write_atomically(&configuration, text.as_bytes())?;
        // A private server: an agent asks public ones whether they answer, and the judge counts what a node asks for itself.
        let servers = format!("nameserver {}\n", topology::HOST4);
        self.write_below(&folder.join("etc/resolv-kubelet.conf"), &servers)?;
        let addresses = node
            .addresses()
            .map(|address| address.to_string())
            .join(",");
        let mut labels = String::new();
        if node.gateway {
            labels = format!("{}={}", topology::GATEWAY_LABEL, node.name);
        }
        let mut command: Vec<OsString> = vec![program.into()];
        start::flags(
            &mut command,
            [
                ("kubeconfig", kubeconfig.into()),
                ("config", configuration.into()),
                ("hostname-override", node.name.clone().into()),
                ("node-ip", addresses.into()),
                ("node-labels", labels.into()),
            ],
        );
        self.start_on_node(node, "kubelet", &command)
    }

    /// Starts the kubelet of a node that was killed.
    ///
    /// # Errors
    /// `NoNode`, `NotBuilt`, or when it does not start.
    pub fn restart_kubelet(&self, node: &str) -> Result<(), LabError> {
        let programs = cached_nodes()?.ok_or(LabError::NotBuilt {
            program: "the kubelet",
            target: "make cluster",
        })?;
        self.start_upstream_kubelet(&self.node(node)?, &programs.kubelet)
    }

    /// Starts a program that makes containers: it shares the node's namespaces with what it starts, and has no others.
    fn start_on_node(
        &self,
        node: &Node,
        program: &str,
        command: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<(), LabError> {
        let name = format!("{program}-{}", node.name);
        let cgroup = self.cgroup(&name)?;
        if cgroup.populated() {
            return Ok(());
        }
        let mut whole: Vec<OsString> = vec!["nsenter".into()];
        let namespaces = self.node_namespace(&node.name).nsenter_args();
        whole.extend(namespaces.into_iter().map(OsString::from));
        whole.push("--".into());
        whole.extend(command.iter().map(|part| part.as_ref().to_owned()));
        let started = process::start_unconfined(&cgroup, &whole, &self.log(&name))?;
        self.update(|state| {
            state.processes.insert(name, started);
            Ok(())
        })
    }

    /// Writes a file whose folder may not be there.
    fn write_below(&self, path: &Path, text: &str) -> Result<(), LabError> {
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).map_err(LabError::file("create", folder))?;
        std::fs::write(path, text).map_err(LabError::file("write", path))
    }

    /// The users of a lab with kubelets, as lines of the API server's file of tokens; each token is kept in a file.
    pub(in crate::cluster) fn node_tokens(&self) -> Result<String, LabError> {
        let scheduler = uid()?;
        let path = self.plane_dir().join("scheduler.kubeconfig");
        let server = crate::cluster::kubeconfig::server(
            (std::net::Ipv4Addr::LOCALHOST, topology::API_PORT).into(),
        );
        crate::cluster::kubeconfig::write(
            self,
            &path,
            "scheduler",
            &scheduler,
            &[("lab", server)],
        )?;
        let mut lines = format!("{scheduler},system:kube-scheduler,scheduler\n");
        for node in &self.state()?.nodes {
            let token = uid()?;
            let path = self
                .plane_dir()
                .join(format!("kubelet-{}.token", node.name));
            crate::cluster::kubeconfig::write_secret(self, &path, &token)?;
            let user = node_user(&node.name);
            lines.push_str(&format!("{token},{user},{user},\"system:nodes\"\n"));
        }
        Ok(lines)
    }
}

fn containerd_configuration() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
# The lab may not lower the score of a process, and runc ends without this.
restrict_oom_score_adj = true
sandbox_image = "{PAUSE}"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#
    )
}

fn kubelet_configuration(cgroup: &str) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        // The API server is its one client, and the lab's namespaces are its one network.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "cgroupsPerQOS": true,
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [topology::DNS4, topology::DNS6],
        "resolvConf": "/etc/resolv-kubelet.conf",
        "registerWithTaints": [{"key": STARTUP_TAINT, "effect": "NoExecute"}],
        // The machine's disk is shared by every lab.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%",
            "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
    })
}
