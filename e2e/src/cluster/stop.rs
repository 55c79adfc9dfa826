//! Parts of the control plane that are stopped, started and set back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::Tools;
use crate::cluster::front::Listen;
use crate::cluster::start::{ETCD_CLIENTS, ETCD_PEERS};
use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::{Lab, wait_until};

/// How long etcd may take to answer after its start.
const ETCD_DEADLINE: Duration = Duration::from_secs(30);

/// What becomes of etcd's revision when a snapshot is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// It falls back to the snapshot's: clients may know versions that will come a second time.
    Keep,
    /// It is raised by so much, and everything older is marked as compacted: what etcd's documentation advises.
    By(u64),
}

impl Lab {
    /// Kills the API server; connections to its address are refused from now on. It stays dead until it is started.
    ///
    /// # Errors
    /// `NeedsApiServer`, or when it does not go.
    pub fn stop_api_server(&self) -> Result<(), LabError> {
        self.needs_api_server("apiserver stop")?;
        self.listen_front(Listen::Closed)?;
        self.kill("kube-apiserver")
    }

    /// Starts the API server and waits until it is ready.
    ///
    /// # Errors
    /// `NeedsApiServer`, or `Timeout`.
    pub fn restart_api_server(&self) -> Result<(), LabError> {
        self.needs_api_server("apiserver start")?;
        self.start_api_server()?;
        self.await_ready()?;
        self.start_controllers()?;
        self.listen_front(Listen::Open)
    }

    /// Asks etcd to end. The API server stays and cannot answer.
    ///
    /// # Errors
    /// `NeedsApiServer`, or `Timeout`.
    pub fn stop_etcd(&self) -> Result<(), LabError> {
        self.needs_api_server("etcd stop")?;
        self.stop("etcd")
    }

    /// Starts etcd and waits until it answers.
    ///
    /// # Errors
    /// `NeedsApiServer`, or `Timeout`.
    pub fn restart_etcd(&self) -> Result<(), LabError> {
        self.needs_api_server("etcd start")?;
        self.start_etcd()?;
        let address = ETCD_CLIENTS.trim_start_matches("http://");
        let namespace = self.namespace("cp");
        wait_until(ETCD_DEADLINE, "an answer from etcd", || {
            namespace.run(|| Ok(std::net::TcpStream::connect(address).ok().map(drop)))
        })
    }

    /// Writes etcd's content to a file, with etcd's own program.
    ///
    /// # Errors
    /// `NeedsApiServer`, or `Command` with the error output of etcdctl.
    pub fn snapshot_etcd(&self, file: &Path) -> Result<(), LabError> {
        self.needs_api_server("etcd snapshot")?;
        let file = std::path::absolute(file).map_err(LabError::file("resolve", file))?;
        let program = Tools::of(self)?.program("etcdctl")?;
        let mut command = self.namespace("cp").command(program);
        command.args(["--endpoints", ETCD_CLIENTS, "snapshot", "save"]);
        command::run(command.arg(file)).map(drop)
    }

    /// Sets etcd back to a snapshot. The API server and the controllers are stopped before and started after it, since
    /// they remember what came later.
    ///
    /// # Errors
    /// `NeedsApiServer`, `Command` with the error output of etcdutl, or `Timeout`. A file that is no snapshot changes
    /// nothing.
    pub fn restore_etcd(&self, file: &Path, bump: Bump) -> Result<(), LabError> {
        self.needs_api_server("etcd restore")?;
        let file = std::path::absolute(file).map_err(LabError::file("resolve", file))?;
        let draft = self.plane_dir().join("etcd.restored");
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(LabError::file("remove", &draft))?;
        }
        let mut command = self
            .namespace("cp")
            .command(Tools::of(self)?.program("etcdutl")?);
        command.args(["snapshot", "restore", "--name", "lab", "--initial-cluster"]);
        command.arg(format!("lab={ETCD_PEERS}"));
        command.args(["--initial-advertise-peer-urls", ETCD_PEERS, "--data-dir"]);
        command.arg(&draft);
        if let Bump::By(revisions) = bump {
            command.args(["--mark-compacted", "--bump-revision"]);
            command.arg(revisions.to_string());
        }
        command::run(command.arg(file))?;
        self.stop_api_server()?;
        self.kill("kube-controller-manager")?;
        self.stop_etcd()?;
        let data = self.etcd_dir();
        fs::remove_dir_all(&data).map_err(LabError::file("remove", &data))?;
        fs::rename(&draft, &data).map_err(LabError::file("replace", &data))?;
        self.restart_etcd()?;
        self.restart_api_server()
    }

    pub(super) fn etcd_dir(&self) -> PathBuf {
        self.plane_dir().join("etcd")
    }
}
