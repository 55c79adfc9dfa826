//! Pods: created, entered and deleted in the order of a real kubelet.

use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use jiff::Timestamp;
use postern_host_testing::patience::Patience;
use serde_json::json;

use crate::lab::LabError;
use crate::lab::sandbox::cni::{self, Chain};
use crate::lab::sandbox::command;
use crate::lab::sandbox::process::Start;
use crate::lab::topology::{Node, world_address};
use crate::lab::{Binaries, Lab, Plugin, PodRecord, Programs, objects, uid};

/// A kubelet's pause between two attempts; a real one backs off from one second.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The namespace and the name of a pod that is written `NAMESPACE/NAME`.
pub(crate) fn pod_name(text: &str) -> Result<(String, String), LabError> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => {
            let why = "write it as NAMESPACE/NAME".to_owned();
            Err(LabError::Invalid {
                what: "pod",
                value: text.to_owned(),
                why,
            })
        }
    }
}

/// What a pod is made of.
#[derive(Clone, Debug)]
pub struct PodOptions {
    /// The node it is bound to.
    pub node: String,
    pub labels: Vec<(String, String)>,
    /// Time between the start of its process and its addresses in the Pod's status.
    pub status_delay: Duration,
    /// How long CNI may say "try again later" before the pod is given up.
    pub timeout: Duration,
    /// Addresses to ask for, of one or both families; host-local chooses otherwise.
    pub addresses: Vec<IpAddr>,
    /// Its first process; it sleeps for ever when this is empty.
    pub command: Vec<OsString>,
}

impl PodOptions {
    /// A pod without labels on this node.
    #[must_use]
    pub fn on(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            labels: Vec::new(),
            status_delay: Duration::from_millis(100),
            timeout: Duration::from_secs(60),
            addresses: Vec::new(),
            command: Vec::new(),
        }
    }

    /// The same with a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this first process.
    #[must_use]
    pub fn command(mut self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }
}

/// Where a command runs that is not a lab's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec<'a> {
    /// In a node's network and mount namespaces.
    Node(&'a str),
    /// In the network namespace of a pod, `namespace/name`.
    Pod(&'a str),
    /// In the world.
    World,
    /// On the host of the LAN that is no node.
    Host,
    /// On the LAN's bridge.
    Lan,
}

impl Lab {
    /// Creates a pod and waits until its status is written: object bound to the node, CNI ADD (again while it says "try
    /// again later"), process start, and after the delay the addresses in the status.
    ///
    /// # Errors
    /// `PodExists`, `NoNode`, or the step that failed; the pod is gone then.
    pub fn create_pod(
        &self,
        namespace: &str,
        name: &str,
        options: &PodOptions,
    ) -> Result<PodRecord, LabError> {
        if self.on_api_server()? {
            return self.create_api_pod(namespace, name, options);
        }
        let node = self.node(&options.node)?;
        let key = format!("{namespace}/{name}");
        if self.pod(&key).is_ok() {
            return Err(LabError::PodExists { name: key });
        }
        let mut pod = self.register_pod(namespace, name, &uid()?, &node.name)?;
        self.ensure_kube_namespace(namespace)?;
        self.apply(vec![objects::pod_object(&pod, &options.labels, "Pending")])?;
        let made = self.make_pod(&mut pod, &node, options);
        if made.is_err() {
            self.remove_pod(&pod)?;
        }
        made.map(|()| pod)
    }

    /// Remembers a new pod, and gives it world addresses that no other pod has had.
    pub(crate) fn register_pod(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        node: &str,
    ) -> Result<PodRecord, LabError> {
        let pod = self.new_record(namespace, name, uid, node)?;
        self.save_pod(&pod)?;
        Ok(pod)
    }

    /// A record with world addresses that no other pod has had; the caller saves it.
    pub(crate) fn new_record(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        node: &str,
    ) -> Result<PodRecord, LabError> {
        self.update(|state| {
            let (world, world6) = world_address(state.next_world);
            let (resolver, resolver6) = world_address(state.next_world + 1);
            state.next_world += 2;
            Ok(PodRecord {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: uid.to_owned(),
                node: node.to_owned(),
                addresses: Vec::new(),
                world: [
                    world.into(),
                    world6.into(),
                    resolver.into(),
                    resolver6.into(),
                ],
                created: Timestamp::now(),
                deleted: None,
            })
        })
    }

    fn make_pod(
        &self,
        pod: &mut PodRecord,
        node: &Node,
        options: &PodOptions,
    ) -> Result<(), LabError> {
        let sandbox = self.namespace(&pod.sandbox());
        self.make_namespace(&sandbox)?;
        pod.addresses = self.add_until(pod, node, options)?;
        self.save_pod(pod)?;
        self.start_pod_process(pod, &options.command)?;
        std::thread::sleep(options.status_delay);
        self.apply(vec![objects::pod_object(pod, &options.labels, "Running")])
            .map(drop)
    }

    /// Starts a pod's first process; it sleeps for ever when the command is empty.
    pub(crate) fn start_pod_process(
        &self,
        pod: &PodRecord,
        command: &[OsString],
    ) -> Result<(), LabError> {
        let command = match command.is_empty() {
            true => ["sleep", "infinity"].map(OsString::from).to_vec(),
            false => command.to_vec(),
        };
        let process = Start {
            namespace: &self.namespace(&pod.sandbox()),
            cgroup: self.cgroup(&pod.sandbox())?,
            command,
            env: pod.env(),
            log: self.log(&pod.key().replace('/', ".")),
        };
        process.run().map(drop)
    }

    fn add_until(
        &self,
        pod: &PodRecord,
        node: &Node,
        options: &PodOptions,
    ) -> Result<Vec<IpAddr>, LabError> {
        let patience = Patience::of(options.timeout);
        let node_namespace = self.node_namespace(&node.name);
        let chain = self.chain(pod, node, &node_namespace, &options.addresses)?;
        loop {
            match chain.add() {
                Err(LabError::Cni {
                    code: cni::TRY_AGAIN,
                    ..
                }) if !patience.is_over() => {}
                other => return other,
            }
            // A kubelet tears the sandbox's network down before it tries again.
            chain.del()?;
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// The CNI plugins of a pod, with the configuration of each.
    pub(crate) fn chain<'a>(
        &self,
        pod: &PodRecord,
        node: &Node,
        namespace: &'a crate::lab::sandbox::netns::Namespace,
        wanted: &[IpAddr],
    ) -> Result<Chain<'a>, LabError> {
        let data = self.node_dir(&node.name).join("ipam");
        let ranges = [node.pods4().to_string(), node.pods6().to_string()];
        let folder = std::path::Path::new(cni::PLUGIN_FOLDER);
        let mut plugins = vec![(
            folder.join("bridge"),
            cni::bridge_network(&ranges, &data, wanted),
        )];
        let options = self.state()?.options;
        if (options.programs, options.plugin) == (Programs::Postern, Plugin::Chained) {
            let socket = self.node_dir(&node.name).join("run/agent.sock");
            let config = json!({"type": "postern-cni", "socket": socket});
            plugins.push((Binaries::locate()?.path("postern-cni"), config));
        }
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
            pod.namespace,
            pod.name,
            pod.sandbox(),
            pod.uid
        );
        let sandbox = self.namespace(&pod.sandbox()).path().to_owned();
        Ok(Chain {
            node: namespace,
            programs: self.runtime_programs(&node.name),
            sandbox,
            container: pod.sandbox(),
            args,
            plugins,
        })
    }

    /// The folder of programs that a node's container runtime and its CNI plugins find first; a test may put some there.
    #[must_use]
    pub fn runtime_programs(&self, node: &str) -> PathBuf {
        self.node_dir(node).join("bin")
    }

    /// Deletes a pod as a kubelet does: its processes end, CNI DEL, the namespace goes, then the object.
    ///
    /// # Errors
    /// `NoPod`, or the step that failed.
    pub fn delete_pod(&self, key: &str) -> Result<(), LabError> {
        if self.on_api_server()? {
            return self.delete_api_pod(key);
        }
        self.remove_pod(&self.pod(key)?)
    }

    fn remove_pod(&self, pod: &PodRecord) -> Result<(), LabError> {
        self.end_pod(pod)?;
        self.delete(&[objects::pod_object(pod, &[], "Succeeded")])?;
        self.bury_pod(pod)
    }

    /// Ends a pod's processes, calls CNI DEL and frees its namespace.
    pub(crate) fn end_pod(&self, pod: &PodRecord) -> Result<(), LabError> {
        self.cgroup(&pod.sandbox())?.destroy()?;
        let node = self.node(&pod.node)?;
        let namespace = self.node_namespace(&node.name);
        let sandbox = self.namespace(&pod.sandbox());
        self.chain(pod, &node, &namespace, &[])?.del()?;
        if let Ok(meta) = fs::metadata(sandbox.path()) {
            self.update(|state| {
                state.namespaces.retain(|inode| *inode != meta.ino());
                Ok(())
            })?;
        }
        sandbox.delete()
    }

    /// Remembers that a pod is gone.
    pub(crate) fn bury_pod(&self, pod: &PodRecord) -> Result<(), LabError> {
        self.save_pod(&PodRecord {
            deleted: Some(Timestamp::now()),
            ..pod.clone()
        })
    }

    /// A command that will run there, with a pod's variables in a pod.
    ///
    /// # Errors
    /// `NoNode` or `NoPod`.
    pub fn command(&self, place: Exec<'_>, program: &[OsString]) -> Result<Command, LabError> {
        let Some((first, rest)) = program.split_first() else {
            let why = "name a program after `--`".to_owned();
            return Err(LabError::Invalid {
                what: "command",
                value: String::new(),
                why,
            });
        };
        let mut command = match place {
            Exec::Node(name) => self.node_namespace(&self.node(name)?.name).command(first),
            Exec::World => self.namespace("world").command(first),
            Exec::Host => self.namespace("host").command(first),
            Exec::Lan => self.namespace("lan").command(first),
            Exec::Pod(key) => {
                let pod = self.pod(key)?;
                let mut command = self.namespace(&pod.sandbox()).command(first);
                command.envs(pod.env());
                command
            }
        };
        command.args(rest);
        Ok(command)
    }

    /// Runs a command there to its end.
    ///
    /// # Errors
    /// `NoNode`, `NoPod`, or when it cannot be started; not when it fails.
    pub fn exec(&self, place: Exec<'_>, program: &[&str]) -> Result<Output, LabError> {
        let program: Vec<OsString> = program.iter().map(Into::into).collect();
        command::output(&mut self.command(place, &program)?, None)
    }

    /// Runs a command there to its end and answers what it printed.
    ///
    /// # Errors
    /// As [`Lab::exec`], and `Command` when it fails.
    pub fn exec_ok(&self, place: Exec<'_>, program: &[&str]) -> Result<String, LabError> {
        let program: Vec<OsString> = program.iter().map(Into::into).collect();
        command::run(&mut self.command(place, &program)?)
    }
}
