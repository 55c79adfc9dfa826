//! Postern in a lab with an API server: what its manifests install, and its programs as their pods would run them.
//!
//! The manifests are applied as they are, but for their workloads: no scheduler and no images are here, so the lab
//! starts the programs itself, each with the account, the token and the folders that its pod would have.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::kubeconfig::{write_secret, write_token_kubeconfig};
use crate::cluster::pods::pods_path;
use crate::cluster::{Api, BoundPod, token};
use crate::lab::LabError;
use crate::lab::sandbox::command;
use crate::lab::topology::Node;
use crate::lab::{Lab, LabState, parse_objects, wait_until};

/// The namespace that the manifests install into.
pub(super) const NAMESPACE: &str = "postern-system";

/// The ConfigMap of public keys, which the operator makes with its first key.
const TRUST: &str = "postern-trust";

/// How long the operators may take until there are keys to trust.
const TRUST_DEADLINE: Duration = Duration::from_secs(60);

/// Kinds that only a scheduler and a container runtime make anything of.
const WORKLOADS: [&str; 3] = ["DaemonSet", "Deployment", "PodDisruptionBudget"];

impl Lab {
    /// Applies the manifests of `deploy/base`, and starts operators, tunnel processes and agents.
    pub(super) fn start_postern_on_cluster(&self, state: &LabState) -> Result<(), LabError> {
        self.install()?;
        self.start_collector()?;
        self.start_operators(state)?;
        self.mount_trust_when_there()?;
        for node in &state.nodes {
            self.create_agent_pod(node)?;
            self.start_tunnel(&node.name)?;
            self.start_agent(&node.name)?;
        }
        Ok(())
    }

    fn install(&self) -> Result<(), LabError> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
        let mut kustomize = self.kubectl(["kustomize"])?;
        // The definitions of the resources lie beside the folder, and not below it.
        kustomize
            .arg("--load-restrictor=LoadRestrictionsNone")
            .arg(base);
        let text = command::run(&mut kustomize)?;
        let mut objects = parse_objects(&text, "deploy/base")?;
        objects.retain(|object| {
            let kind = object.get("kind").and_then(Value::as_str);
            !WORKLOADS.contains(&kind.unwrap_or_default())
        });
        self.kubectl_apply(&objects).map(drop)
    }

    /// The folder that agents find public keys in, as the ConfigMap's mount in their pods.
    #[must_use]
    pub fn trust_dir(&self) -> PathBuf {
        self.plane_dir().join("trust")
    }

    /// The kubeconfig of a node's agent.
    #[must_use]
    pub fn agent_kubeconfig(&self, node: &str) -> PathBuf {
        self.plane_dir().join(format!("agent-{node}.kubeconfig"))
    }

    /// Waits until the operator has made its first key, and keeps the key with which the judge verifies documents.
    ///
    /// # Errors
    /// `Timeout`, or when the key cannot be kept.
    pub fn mount_trust_when_there(&self) -> Result<(), LabError> {
        let waited = wait_until(TRUST_DEADLINE, "the operator's first key", || {
            Ok(self.mount_trust()?.then_some(()))
        });
        let there = waited.map_err(|error| match error {
            LabError::Timeout { what, seconds, .. } => LabError::Timeout {
                what,
                seconds,
                detail: format!("; an operator's log: {}", self.log_tail("operator-1", 3)),
            },
            other => other,
        });
        there?;
        self.remember_first_key()
    }

    /// The judge verifies by the key that the agents were installed with: here the operator made it, not the lab.
    fn remember_first_key(&self) -> Result<(), LabError> {
        let folder = self.trust_dir();
        let mut entries = fs::read_dir(&folder).map_err(LabError::file("list", &folder))?;
        let Some(first) = entries.next() else {
            return Ok(());
        };
        let path = first.map_err(LabError::file("list", &folder))?.path();
        let text = fs::read(&path).map_err(LabError::file("read", &path))?;
        self.write_atomically(&self.trust_key(), &text)
    }

    /// Brings the agents' folder up to what the ConfigMap of public keys says now, as a kubelet does within a minute, and
    /// answers whether there is one. Without one the folder stays as it is, as in a pod that runs.
    ///
    /// # Errors
    /// When the API server does not answer, or a file cannot be written.
    pub fn mount_trust(&self) -> Result<bool, LabError> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{TRUST}");
        let Some(map) = Api::of(self).get(&path)? else {
            return Ok(false);
        };
        let folder = self.trust_dir();
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let keys = map.get("data").and_then(Value::as_object);
        let mut kept = BTreeSet::new();
        for (name, text) in keys.into_iter().flatten() {
            let text = text.as_str().unwrap_or_default();
            self.write_atomically(&folder.join(name), text.as_bytes())?;
            kept.insert(name.as_str());
        }
        let entries = fs::read_dir(&folder).map_err(LabError::file("list", &folder))?;
        for entry in entries {
            let path = entry.map_err(LabError::file("list", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !kept.contains(&*name) {
                fs::remove_file(&path).map_err(LabError::file("remove", &path))?;
            }
        }
        Ok(!kept.is_empty())
    }

    /// Makes the pod that a node's agent runs in, by name, and the token that the kubelet would project into it.
    fn create_agent_pod(&self, node: &Node) -> Result<(), LabError> {
        let name = format!("postern-agent-{}", node.name);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "namespace": NAMESPACE, "name": name,
                "labels": {"app.kubernetes.io/component": "agent", "app.kubernetes.io/part-of": "postern"},
            },
            "spec": {
                "nodeName": node.name, "hostNetwork": true,
                "serviceAccountName": "postern-agent", "automountServiceAccountToken": false,
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "agent", "image": "none"}],
            },
        });
        let stored = Api::of(self).create(&pods_path(NAMESPACE), &pod)?;
        let uid = super::pods::text(&stored, "/metadata/uid");
        let bound = BoundPod { name: &name, uid };
        let token = token(self, NAMESPACE, "postern-agent", Some(bound))?;
        self.give_account(&self.agent_kubeconfig(&node.name), "postern-agent", &token)?;
        self.link_agent_files(&node.name)
    }

    /// The judge, and whoever else looks for what an agent is told and says, finds it where a lab without an API server
    /// has it: the agent's inbox is the node's folder of intents, and its report is named among the others.
    fn link_agent_files(&self, node: &str) -> Result<(), LabError> {
        let run = self.run_dir(node);
        for (there, here) in [
            (self.intents(node), run.join("inbox")),
            (run.join("report.json"), self.report(node)),
        ] {
            symlink(there, &here).map_err(LabError::file("link", here))?;
        }
        Ok(())
    }

    /// Writes a kubeconfig that names a token file beside it, as the files in a pod are apart.
    pub(super) fn give_account(
        &self,
        path: &Path,
        user: &str,
        token: &str,
    ) -> Result<(), LabError> {
        let file = path.with_extension("token");
        write_secret(self, &file, token)?;
        write_token_kubeconfig(self, path, user, &file)
    }
}
