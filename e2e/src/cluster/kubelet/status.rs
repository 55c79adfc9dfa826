//! What a kubelet writes into the status of its pods.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::cluster::objects::now;
use crate::lab::topology::Node;

/// How far a pod has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The kubelet has taken it on.
    Admitted,
    /// Something keeps it from starting; the kubelet tries again.
    Waiting(String),
    /// Its process runs, and these are its addresses.
    Running(Vec<IpAddr>),
}

/// The status of a pod at this stage, as a patch.
pub(super) fn status(node: &Node, stage: &Stage) -> Value {
    let running = matches!(stage, Stage::Running(_));
    let condition = |kind: &str, holds: bool| {
        json!({
            "type": kind, "status": if holds { "True" } else { "False" },
            "lastTransitionTime": now(),
        })
    };
    let state = match stage {
        Stage::Admitted => json!({"waiting": {"reason": "ContainerCreating"}}),
        Stage::Waiting(why) => json!({"waiting": {"reason": "ContainerCreating", "message": why}}),
        Stage::Running(_) => json!({"running": {"startedAt": now()}}),
    };
    let mut status = json!({
        "phase": if running { "Running" } else { "Pending" },
        "hostIP": node.ipv4(),
        "hostIPs": node.addresses().map(|address| json!({"ip": address})),
        "startTime": now(),
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("PodReadyToStartContainers", running),
            condition("ContainersReady", running),
            condition("Ready", running),
        ],
        "containerStatuses": [{
            "name": "main", "image": "none", "imageID": "", "restartCount": 0,
            "ready": running, "started": running, "state": state,
        }],
    });
    if let Stage::Running(addresses) = stage {
        status["podIP"] = json!(addresses.first());
        status["podIPs"] = addresses
            .iter()
            .map(|address| json!({"ip": address}))
            .collect();
    }
    json!({ "status": status })
}

#[cfg(test)]
mod tests {
    use super::{Stage, status};
    use crate::lab::topology::Node;

    #[test]
    fn addresses_are_in_the_status_of_a_running_pod_alone() {
        let node = Node {
            name: "n1".to_owned(),
            number: 1,
            gateway: false,
            uid: String::new(),
        };
        let waiting = status(&node, &Stage::Waiting("no network".to_owned()));
        assert_eq!(waiting.pointer("/status/podIPs"), None);
        let running = status(&node, &Stage::Running(vec!["10.244.1.2".parse().unwrap()]));
        assert_eq!(running["status"]["podIPs"][0]["ip"], "10.244.1.2");
        assert_eq!(running["status"]["phase"], "Running");
    }
}
