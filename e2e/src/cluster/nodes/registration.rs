//! From no node to nodes that are ready.

use std::time::Duration;

use crate::cluster::{Api, PatchKind, prepare_nodes};
use crate::lab::topology::Node;
use crate::lab::{Kubelets, Lab, LabError, wait_until};

/// How long a kubelet may take until its node is Ready: about 10 seconds on an idle machine.
const READY_DEADLINE: Duration = Duration::from_secs(120);

impl Lab {
    /// Whether pods are containers of upstream kubelets.
    ///
    /// # Errors
    /// When the lab's state cannot be read.
    pub fn on_kubelets(&self) -> Result<bool, LabError> {
        Ok(self.state()?.options.kubelets == Kubelets::Upstream)
    }

    /// Starts scheduler, container runtimes and kubelets, and waits until every node is ready.
    pub(in crate::cluster) fn start_nodes(
        &self,
        on_stage: &mut dyn FnMut(&str),
    ) -> Result<(), LabError> {
        let programs = prepare_nodes(on_stage)?;
        on_stage("making the lab's images");
        let images = self.node_images(&programs)?;
        self.start_scheduler()?;
        let nodes = self.state()?.nodes;
        for node in &nodes {
            on_stage(&format!(
                "starting containerd and the kubelet of {}",
                node.name
            ));
            self.make_node_root(node)?;
            self.start_container_runtime(node)?;
            self.import_images(node, &images)?;
            self.start_upstream_kubelet(node, &programs.kubelet)?;
        }
        for node in &nodes {
            self.await_registered(node)?;
        }
        Ok(())
    }

    /// Waits until the kubelet has registered its node, gives it the pod ranges that its CNI plugins use, and remembers
    /// its UID. A node is Ready only with a network, and that needs no ranges in the object.
    fn await_registered(&self, node: &Node) -> Result<(), LabError> {
        let api = Api::of(self);
        let path = format!("/api/v1/nodes/{}", node.name);
        let what = format!("node {} to be ready", node.name);
        let ready = wait_until(READY_DEADLINE, &what, || {
            // A kubelet that is about to register itself is no error.
            let object = api.get(&path)?;
            Ok(object.filter(is_ready))
        });
        let object = ready.map_err(|error| match error {
            LabError::Timeout { what, seconds, .. } => LabError::Timeout {
                what,
                seconds,
                detail: format!(
                    "; its log: {}",
                    self.log_tail(&format!("kubelet-{}", node.name), 3)
                ),
            },
            other => other,
        })?;
        let ranges = [node.pods4().to_string(), node.pods6().to_string()];
        let ranges = serde_json::json!({"spec": {"podCIDR": ranges[0], "podCIDRs": ranges}});
        api.patch(&path, PatchKind::Strategic, &ranges)?;
        let uid = crate::cluster::pods::text(&object, "/metadata/uid").to_owned();
        self.update(|state| {
            let known = state.nodes.iter_mut().find(|known| known.name == node.name);
            if let Some(known) = known {
                known.uid = uid;
            }
            Ok(())
        })
    }
}

fn is_ready(node: &serde_json::Value) -> bool {
    let conditions = node.pointer("/status/conditions");
    let mut conditions = conditions
        .and_then(|list| list.as_array())
        .into_iter()
        .flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
}
