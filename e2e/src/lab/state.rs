//! What a lab remembers between two commands: a folder with one document, and one more per pod.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use postern_host_testing::patience::Patience;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lab::LabError;
use crate::lab::sandbox::cgroup::Cgroup;
use crate::lab::sandbox::netns::Namespace;
use crate::lab::sandbox::process::Process;
use crate::lab::topology::Node;
use crate::lab::{Cluster, UpOptions};

/// Longest path of a lab's folder: the deepest socket inside it adds some 45 bytes, and `sun_path` holds 108.
const DIR_LIMIT: usize = 60;

/// A lab, found by its folder. Cheap to clone; several programs may use the same lab at the same time.
#[derive(Clone, Debug)]
pub struct Lab {
    pub(crate) dir: PathBuf,
}

/// The document of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabState {
    /// Random name: the lab's control group is `postern-lab-ID`.
    pub id: String,
    pub created: Timestamp,
    /// What `up` was asked for.
    pub options: UpOptions,
    /// The lab's control group.
    pub cgroup: PathBuf,
    /// The nodes, plain ones first.
    pub nodes: Vec<Node>,
    /// The next world address that no pod has had; addresses are never given twice.
    pub next_world: u32,
    /// Services and node ports.
    pub services: Vec<Service>,
    /// Inode numbers of the network namespaces, by which `down` finds out whether one is still in use.
    pub namespaces: Vec<u64>,
    /// The long-lived processes that were started, by name (`agent-n1`, `world`, ...).
    #[serde(default)]
    pub processes: std::collections::BTreeMap<String, Process>,
}

/// A service of the lab, translated on every node as kube-proxy does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name; the resolver serves it as `NAME.default.svc.cluster.local`.
    pub name: String,
    /// The service address, or none for a node port alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<IpAddr>,
    /// The port that clients use: of the service address, or of every node.
    pub port: u16,
    pub to_address: IpAddr,
    pub to_port: u16,
    /// Whether node ports masquerade.
    pub policy: TrafficPolicy,
}

/// `externalTrafficPolicy` of a node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum TrafficPolicy {
    /// Any node serves it; the client's address is masqueraded.
    #[default]
    Cluster,
    /// The endpoint's node serves it and keeps the client's address.
    Local,
}

/// One pod, running or gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRecord {
    /// Kubernetes namespace.
    pub namespace: String,
    pub name: String,
    /// UID; also the name of its network namespace and its container.
    pub uid: String,
    /// The node it is bound to.
    pub node: String,
    /// Its own addresses, once the CNI has given them.
    pub addresses: Vec<IpAddr>,
    /// World addresses that are this pod's own: `WORLD`, `WORLD6`, `RESOLVER`, `RESOLVER6`.
    pub world: [IpAddr; 4],
    /// When its object was made.
    pub created: Timestamp,
    /// When it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

impl PodRecord {
    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Name of its container, control group and namespace: unique, and short enough for a socket path.
    #[must_use]
    pub fn sandbox(&self) -> String {
        format!("pod-{}", self.uid)
    }

    /// The variables that its first process finds.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let names = ["WORLD", "WORLD6", "RESOLVER", "RESOLVER6"];
        let mut env: Vec<_> = names
            .iter()
            .zip(&self.world)
            .map(|(name, address)| ((*name).to_owned(), address.to_string()))
            .collect();
        env.push(("POD_NAMESPACE".to_owned(), self.namespace.clone()));
        env.push(("POD_NAME".to_owned(), self.name.clone()));
        env.push(("NODE_NAME".to_owned(), self.node.clone()));
        env
    }
}

impl Lab {
    /// The lab whose folder this is.
    ///
    /// # Errors
    /// `NoLab` when there is none.
    pub fn open(dir: &Path) -> Result<Self, LabError> {
        let lab = Self::at(dir)?;
        if !lab.document().exists() {
            return Err(LabError::NoLab { dir: lab.dir });
        }
        Ok(lab)
    }

    /// A lab that may not exist yet.
    ///
    /// # Errors
    /// `DirTooLong`, or when the current folder is unknown.
    pub fn at(dir: &Path) -> Result<Self, LabError> {
        let dir = std::path::absolute(dir).map_err(LabError::file("resolve", dir))?;
        if dir.as_os_str().len() > DIR_LIMIT {
            return Err(LabError::DirTooLong { dir });
        }
        Ok(Self { dir })
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn document(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// The current document.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self) -> Result<LabState, LabError> {
        read_json(&self.document())
    }

    /// Changes the document under a lock.
    ///
    /// # Errors
    /// When it cannot be read, locked or written, and whatever the change answers.
    pub fn update<T>(
        &self,
        change: impl FnOnce(&mut LabState) -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        let path = self.dir.join("lab.lock");
        let lock = File::create(&path).map_err(LabError::file("create", &path))?;
        lock.lock().map_err(LabError::file("lock", &path))?;
        let mut state = self.state()?;
        let answer = change(&mut state)?;
        self.write(&state)?;
        Ok(answer)
    }

    pub(crate) fn write(&self, state: &LabState) -> Result<(), LabError> {
        let text =
            serde_json::to_string_pretty(state).map_err(LabError::json("the lab's state"))?;
        self.write_atomically(&self.document(), text.as_bytes())
    }

    /// Writes a file so that a reader sees the old one or the new one: into the lab's own folder for unfinished files
    /// first, because programs that watch a folder take every name in it for finished.
    ///
    /// # Errors
    /// When the file cannot be written or moved.
    pub fn write_atomically(&self, path: &Path, content: &[u8]) -> Result<(), LabError> {
        let folder = self.dir.join("tmp");
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let draft = folder.join(uid()?);
        fs::write(&draft, content).map_err(LabError::file("write", &draft))?;
        fs::rename(&draft, path).map_err(LabError::file("replace", path))
    }

    /// The node of this name.
    ///
    /// # Errors
    /// `NoNode` with the names that exist.
    pub fn node(&self, name: &str) -> Result<Node, LabError> {
        let nodes = self.state()?.nodes;
        let known = nodes
            .iter()
            .map(|node| node.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let found = nodes.into_iter().find(|node| node.name == name);
        found.ok_or(LabError::NoNode {
            name: name.to_owned(),
            known,
        })
    }

    /// The network namespace of this name: `lan`, `world` or a pod's sandbox.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::net(self.dir.join("ns").join(name))
    }

    /// The namespaces of a node.
    #[must_use]
    pub fn node_namespace(&self, name: &str) -> Namespace {
        self.namespace(name)
            .with_mount(self.dir.join("mnt").join(name))
    }

    /// The folder of what a node keeps: `run`, `state`, `ipam`.
    #[must_use]
    pub fn node_dir(&self, name: &str) -> PathBuf {
        self.dir.join("nodes").join(name)
    }

    /// The folder of the control plane, in a lab that has one.
    #[must_use]
    pub fn plane_dir(&self) -> PathBuf {
        self.dir.join("cp")
    }

    /// Whether the lab's objects are in an API server.
    ///
    /// # Errors
    /// When the lab's state cannot be read.
    pub fn on_api_server(&self) -> Result<bool, LabError> {
        Ok(self.state()?.options.cluster == Cluster::ApiServer)
    }

    /// Refuses what only an API server can do.
    ///
    /// # Errors
    /// `NeedsApiServer` in a standalone lab.
    pub fn needs_api_server(&self, verb: &'static str) -> Result<(), LabError> {
        if self.on_api_server()? {
            return Ok(());
        }
        Err(LabError::NeedsApiServer { verb })
    }

    /// Refuses what only a standalone lab can do.
    ///
    /// # Errors
    /// `NeedsStandalone` in a lab with an API server.
    pub fn needs_standalone(&self, verb: &'static str) -> Result<(), LabError> {
        if self.on_api_server()? {
            return Err(LabError::NeedsStandalone { verb });
        }
        Ok(())
    }

    /// The log of a long-lived process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("log").join(format!("{name}.log"))
    }

    /// The control group of a long-lived process.
    ///
    /// # Errors
    /// When the lab's state cannot be read.
    pub fn cgroup(&self, name: &str) -> Result<Cgroup, LabError> {
        Ok(Cgroup::at(self.state()?.cgroup).child(name))
    }

    /// Every pod that the lab has had, oldest first.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn all_pods(&self) -> Result<Vec<PodRecord>, LabError> {
        let folder = self.dir.join("pods");
        let entries = fs::read_dir(&folder).map_err(LabError::file("list", &folder))?;
        let mut pods: Vec<PodRecord> = entries
            .flatten()
            .map(|entry| read_json(&entry.path()))
            .collect::<Result<_, _>>()?;
        pods.sort_by_key(|pod| pod.created);
        Ok(pods)
    }

    /// The pods that are not deleted.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn pods(&self) -> Result<Vec<PodRecord>, LabError> {
        Ok(self
            .all_pods()?
            .into_iter()
            .filter(|pod| pod.deleted.is_none())
            .collect())
    }

    /// The pod of this `namespace/name`.
    ///
    /// # Errors
    /// `NoPod` when none runs.
    pub fn pod(&self, key: &str) -> Result<PodRecord, LabError> {
        let found = self.pods()?.into_iter().find(|pod| pod.key() == key);
        found.ok_or_else(|| LabError::NoPod {
            name: key.to_owned(),
        })
    }

    pub(crate) fn save_pod(&self, pod: &PodRecord) -> Result<(), LabError> {
        let text = serde_json::to_string_pretty(pod).map_err(LabError::json("a pod's record"))?;
        self.write_atomically(
            &self.dir.join("pods").join(format!("{}.json", pod.uid)),
            text.as_bytes(),
        )
    }
}

/// Reads a JSON document.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, LabError> {
    let text = fs::read_to_string(path).map_err(LabError::file("read", path))?;
    serde_json::from_str(&text).map_err(LabError::json(path.display().to_string()))
}

/// A random UID from the kernel.
pub(crate) fn uid() -> Result<String, LabError> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    Ok(fs::read_to_string(path)
        .map_err(LabError::file("read", path))?
        .trim()
        .to_owned())
}

/// Asks again every few milliseconds until the answer is there or the deadline has passed. Time in which the machine had
/// more work than processors does not count ([`Patience`]); a case that claims how long something takes measures it.
///
/// # Errors
/// `Timeout` with what was waited for and what the last question saw; and the first error of a question.
pub fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut question: impl FnMut() -> Result<Option<T>, LabError>,
) -> Result<T, LabError> {
    let patience = Patience::of(deadline);
    loop {
        if let Some(answer) = question()? {
            let stretched = patience.to_string();
            if !stretched.is_empty() {
                let seconds = deadline.as_secs_f64();
                eprintln!("lab: waited longer than {seconds:.1} s for {what}{stretched}");
            }
            return Ok(answer);
        }
        if patience.is_over() {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                seconds: deadline.as_secs_f64(),
                detail: patience.to_string(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
