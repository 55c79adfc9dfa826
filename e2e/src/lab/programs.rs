//! The long-lived processes of a lab: agents, tunnel processes, publisher, world and monitor.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::LabError;
use crate::lab::sandbox::netns::Namespace;
use crate::lab::sandbox::process::{Start, first_process, tail};
use crate::lab::topology::Node;
use crate::lab::{Binaries, Cluster, Lab, Plugin, wait_until};

/// Where an agent serves metrics and health, inside its node's namespace.
pub const AGENT_METRICS: &str = "127.0.0.1:9465";

/// How long a program may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

impl Lab {
    /// The folder that a node's agent reads intents from.
    #[must_use]
    pub fn intents(&self, node: &str) -> PathBuf {
        self.dir.join("intents").join(node)
    }

    /// The file that a node's agent writes its report to.
    #[must_use]
    pub fn report(&self, node: &str) -> PathBuf {
        self.dir.join("reports").join(format!("{node}.json"))
    }

    /// The run directory of a node's agent and tunnel process.
    #[must_use]
    pub fn run_dir(&self, node: &str) -> PathBuf {
        self.node_dir(node).join("run")
    }

    /// Starts the agent of a node, unless it runs.
    ///
    /// # Errors
    /// `NoNode`, or when it does not start.
    pub fn start_agent(&self, node: &str) -> Result<(), LabError> {
        let node = self.node(node)?;
        let command = self.agent_command(&node)?;
        self.start(
            &format!("agent-{}", node.name),
            &self.node_namespace(&node.name),
            command,
        )
    }

    /// Arguments that a node's agent gets besides the lab's own, from its next start on.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn set_agent_arguments(&self, node: &str, arguments: &[&str]) -> Result<(), LabError> {
        let path = self.node_dir(&self.node(node)?.name).join("agent.args");
        self.write_atomically(&path, arguments.join("\n").as_bytes())
    }

    /// Starts the tunnel process of a node, unless it runs.
    ///
    /// # Errors
    /// `NoNode`, or when it does not start.
    pub fn start_tunnel(&self, node: &str) -> Result<(), LabError> {
        let node = self.node(node)?;
        let program = Binaries::locate()?.path("postern-tunnel");
        let command = vec![
            program.into(),
            "run".into(),
            "--run-dir".into(),
            self.run_dir(&node.name).into(),
        ];
        self.start(
            &format!("tunnel-{}", node.name),
            &self.node_namespace(&node.name),
            command,
        )
    }

    /// Starts the publisher, unless it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_publisher(&self) -> Result<(), LabError> {
        self.start_own("publisher", &self.namespace("lan"), &["run", "publisher"])
    }

    /// Kills a long-lived process and everything in its PID namespace and control group, as a container's end does. It
    /// stays dead until it is started again.
    ///
    /// # Errors
    /// When something does not go.
    pub fn kill(&self, name: &str) -> Result<(), LabError> {
        self.cgroup(name)?.destroy()
    }

    /// Asks a long-lived process to end (SIGTERM), waits for it and clears what it left running.
    ///
    /// # Errors
    /// `Timeout` when it does not end.
    pub fn stop(&self, name: &str) -> Result<(), LabError> {
        let cgroup = self.cgroup(name)?;
        if let Some(process) = first_process(&cgroup) {
            process.signal(Signal::SIGTERM)?;
            wait_until(STOP_DEADLINE, &format!("the end of {name}"), || {
                Ok((!process.alive() || process.is_zombie()).then_some(()))
            })?;
        }
        cgroup.destroy()
    }

    /// Sends a signal to a long-lived process: SIGSTOP makes a hung one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<(), LabError> {
        match first_process(&self.cgroup(name)?) {
            Some(process) => process.signal(signal),
            None => Ok(()),
        }
    }

    /// Whether a long-lived process runs.
    ///
    /// # Errors
    /// When the lab's state cannot be read.
    pub fn runs(&self, name: &str) -> Result<bool, LabError> {
        Ok(self.cgroup(name)?.populated())
    }

    /// The last lines of a long-lived process's output.
    #[must_use]
    pub fn log_tail(&self, name: &str, lines: usize) -> String {
        tail(&self.log(name), lines)
    }

    pub(crate) fn start_postern(&self, nodes: &[Node]) -> Result<(), LabError> {
        self.start_publisher()?;
        for node in nodes {
            self.start_tunnel(&node.name)?;
            self.start_agent(&node.name)?;
        }
        Ok(())
    }

    /// Starts one of the lab's own helpers.
    pub(crate) fn start_own(
        &self,
        name: &str,
        namespace: &Namespace,
        verb: &[&str],
    ) -> Result<(), LabError> {
        let mut command: Vec<OsString> = vec![
            Binaries::locate()?.lab().into(),
            "--dir".into(),
            self.dir.clone().into(),
        ];
        command.extend(verb.iter().map(OsString::from));
        self.start(name, namespace, command)
    }

    /// Starts a program as a long-lived process of this name, unless one runs.
    pub(crate) fn start(
        &self,
        name: &str,
        namespace: &Namespace,
        command: Vec<OsString>,
    ) -> Result<(), LabError> {
        let cgroup = self.cgroup(name)?;
        if cgroup.populated() {
            return Ok(());
        }
        let process = Start {
            namespace,
            cgroup,
            command,
            env: Vec::new(),
            log: self.log(name),
        }
        .run()?;
        self.update(|state| {
            state.processes.remove(name);
            state
                .processes
                .extend(process.map(|process| (name.to_owned(), process)));
            Ok(())
        })
    }

    /// Where an agent's documents come from and its reports go, and whom it trusts.
    fn source(&self, node: &Node, cluster: Cluster) -> Vec<(&'static str, OsString)> {
        match cluster {
            Cluster::Standalone => vec![
                ("--intents", self.intents(&node.name).into()),
                ("--report", self.report(&node.name).into()),
                ("--node-uid", node.uid.clone().into()),
                ("--trust-key", self.trust_key().into()),
            ],
            Cluster::ApiServer => vec![
                ("--kubeconfig", self.agent_kubeconfig(&node.name).into()),
                ("--trust-dir", self.trust_dir().into()),
            ],
        }
    }

    fn agent_command(&self, node: &Node) -> Result<Vec<OsString>, LabError> {
        let state = self.state()?;
        let folder = self.node_dir(&node.name);
        let plugin = match state.options.plugin {
            Plugin::Chained => "expected",
            Plugin::Absent => "none",
        };
        // No ranges and no addresses: a DaemonSet cannot pass a node's own.
        let arguments: [(&str, OsString); 5] = [
            ("--node-name", node.name.clone().into()),
            ("--state-dir", folder.join("state").into()),
            ("--run-dir", self.run_dir(&node.name).into()),
            ("--audit-log", folder.join("audit.jsonl").into()),
            ("--metrics-listen", AGENT_METRICS.into()),
        ];
        let mut command = self.agent_environment()?;
        command.push(Binaries::locate()?.path("postern-agent").into());
        command.push("run".into());
        command.extend(
            arguments
                .into_iter()
                .chain(self.source(node, state.options.cluster))
                .flat_map(|(flag, value)| [OsString::from(flag), value]),
        );
        if state.options.cluster == Cluster::ApiServer {
            command.push("--kubernetes".into());
        }
        command.push(format!("--plugin={plugin}").into());
        let more = std::fs::read_to_string(folder.join("agent.args")).unwrap_or_default();
        command.extend(more.lines().map(OsString::from));
        command.extend(state.options.agent_arguments.iter().map(OsString::from));
        Ok(command)
    }
}
