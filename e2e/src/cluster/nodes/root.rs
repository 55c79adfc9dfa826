//! What a node has of a machine of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::lab::sandbox::cgroup::remove;
use crate::lab::sandbox::cni::bridge_network;
use crate::lab::sandbox::command;
use crate::lab::topology::Node;
use crate::lab::{Lab, LabError};

/// Makes folders and control groups, inside of the node's mount namespace.
const SCRIPT: &str = include_str!("root.sh");

/// Where control groups of version 1 are mounted, one folder for each controller.
const HIERARCHIES: &str = "/sys/fs/cgroup";

impl Lab {
    /// The control group below which a node's kubelet makes its own, in each hierarchy of version 1.
    pub(super) fn node_cgroup(&self, node: &Node) -> Result<String, LabError> {
        Ok(format!("/postern-lab-{}/{}", self.state()?.id, node.name))
    }

    pub(super) fn make_node_root(&self, node: &Node) -> Result<(), LabError> {
        let folder = self.node_dir(&node.name);
        let mut shell = self.node_namespace(&node.name).command("sh");
        shell.args(["-c", SCRIPT, "root.sh"]).arg(&folder);
        command::run(shell.arg(self.node_cgroup(node)?))?;
        let ranges = [node.pods4().to_string(), node.pods6().to_string()];
        let list = json!({
            "cniVersion": "1.0.0", "name": "lab",
            "plugins": [
                bridge_network(&ranges, Path::new("/var/lib/cni/networks"), &[]),
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        let path = folder.join("etc/cni/net.d/10-lab.conflist");
        self.write_atomically(&path, list.to_string().as_bytes())
    }

    /// Links the folders in which the judge of every lab looks for intents and reports to the folder of the agent, because a
    /// container sees no other one. The links are made before the judge begins to watch.
    pub(crate) fn link_agent_folders(&self, node: &Node) -> Result<(), LabError> {
        let run = self.run_dir(&node.name);
        let inbox = run.join("inbox");
        fs::create_dir(&inbox).map_err(LabError::file("create", &inbox))?;
        let intents = self.intents(&node.name);
        fs::remove_dir(&intents).map_err(LabError::file("remove", &intents))?;
        for (there, here) in [
            (inbox, intents),
            (run.join("report.json"), self.report(&node.name)),
        ] {
            symlink(there, &here).map_err(LabError::file("link", here))?;
        }
        Ok(())
    }

    /// Removes the groups of version 1 that the kubelets of this lab have made; nothing runs in them any more.
    pub(crate) fn remove_node_cgroups(&self) -> Result<(), LabError> {
        let name = format!("postern-lab-{}", self.state()?.id);
        let hierarchies = fs::read_dir(HIERARCHIES).into_iter().flatten().flatten();
        for hierarchy in hierarchies {
            let group = hierarchy.path().join(&name);
            // A controller may be named twice: cpu and cpuacct are often links to one hierarchy.
            if group.exists() {
                remove(&group)?;
            }
        }
        Ok(())
    }
}
