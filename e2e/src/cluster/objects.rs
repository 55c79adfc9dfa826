//! Nodes and namespaces as objects of the API server.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::{Api, PatchKind, Tools};
use crate::lab::LabError;
use crate::lab::topology::{self, Node};
use crate::lab::{Lab, node_object, wait_until};

/// How long the controllers may take to give a new namespace its service account.
const ACCOUNT_DEADLINE: Duration = Duration::from_secs(60);

/// Now, as Kubernetes writes times: to the second.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Lab {
    /// Applies the CustomResourceDefinitions that the repository has generated, and waits until they are served.
    ///
    /// # Errors
    /// `Command` with the API server's message when one is refused or not established in time.
    pub fn apply_definitions(&self) -> Result<(), LabError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
        self.kubectl_apply_folder(&folder)?;
        let wait = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=60s",
        ];
        self.kubectl_ok(&wait).map(drop)
    }

    /// Creates the Node objects, as kubelets that register themselves, and remembers their UIDs.
    pub(super) fn create_nodes(&self, nodes: &[Node]) -> Result<(), LabError> {
        let api = Api::of(self);
        for node in nodes {
            let mut object = node_object(node);
            let status = ready_status(node, &object["status"]["addresses"]);
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("uid");
            }
            let stored = api.create("/api/v1/nodes", &object)?;
            let uid = stored.pointer("/metadata/uid").and_then(Value::as_str);
            let uid = uid.unwrap_or_default().to_owned();
            let path = format!("/api/v1/nodes/{}/status", node.name);
            api.patch(&path, PatchKind::Strategic, &json!({ "status": status }))?;
            self.update(|state| {
                let known = state.nodes.iter_mut().find(|known| known.name == node.name);
                if let Some(known) = known {
                    known.uid = uid;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Makes a namespace unless it is there, and waits until pods can be made in it.
    pub(crate) fn ensure_api_namespace(&self, name: &str) -> Result<(), LabError> {
        let api = Api::of(self);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        match api.create("/api/v1/namespaces", &object) {
            Ok(_) | Err(LabError::ApiRefused { code: 409, .. }) => {}
            Err(other) => return Err(other),
        }
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        if !Tools::of(self)?.has("kube-controller-manager") {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
            });
            return match api.create(&accounts, &account) {
                Ok(_) | Err(LabError::ApiRefused { code: 409, .. }) => Ok(()),
                Err(other) => Err(other),
            };
        }
        let what = format!("the service account of namespace {name}");
        wait_until(ACCOUNT_DEADLINE, &what, || {
            Ok(api.get(&format!("{accounts}/default"))?.map(drop))
        })
    }

    /// The endpoint of the service `kubernetes`: the address that nodes and pods reach the API server at.
    pub(super) fn create_api_endpoint(&self) -> Result<(), LabError> {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [topology::CONTROL4], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": topology::API_PORT, "protocol": "TCP"}],
        });
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
        Api::of(self)
            .patch(path, PatchKind::Apply, &slice)
            .map(drop)
    }
}

/// The conditions that a kubelet reports for a healthy node.
fn ready_status(node: &Node, addresses: &Value) -> Value {
    let mut addresses = addresses.clone();
    if let Some(list) = addresses.as_array_mut() {
        list.push(json!({"type": "Hostname", "address": node.name}));
    }
    let room = json!({"cpu": "2", "memory": "4Gi", "pods": "110"});
    json!({
        "addresses": addresses,
        "capacity": room,
        "allocatable": room,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a node of the lab",
            "lastHeartbeatTime": now(), "lastTransitionTime": now(),
        }],
    })
}
