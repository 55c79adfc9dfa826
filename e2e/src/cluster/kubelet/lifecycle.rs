//! One pod, from its admission to the removal of its object.

use std::ffi::OsString;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::kubelet::end_signal::EndSignal;
use crate::cluster::kubelet::status::{Stage, status};
use crate::cluster::pods::{ADDRESSES, STATUS_DELAY, pods_path, text};
use crate::cluster::{Api, PatchKind};
use crate::lab::error::{LabError, chain};
use crate::lab::topology::Node;
use crate::lab::{Lab, PodRecord};

/// A kubelet's pause between two attempts; a real one backs off from one second.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A pod and what its object asks for.
pub(super) struct PodLifecycle {
    lab: Lab,
    api: Api,
    node: Node,
    namespace: String,
    name: String,
    uid: String,
    command: Vec<OsString>,
    status_delay: Duration,
    addresses: Vec<IpAddr>,
    end_signal: EndSignal,
}

impl PodLifecycle {
    /// What this object asks for on this node.
    pub(super) fn of(lab: &Lab, node: &Node, object: &Value, end_signal: EndSignal) -> Self {
        let annotations = object.pointer("/metadata/annotations");
        let annotation = |name: &str| {
            annotations
                .and_then(|all| all.get(name)?.as_str())
                .unwrap_or_default()
        };
        let delay = annotation(STATUS_DELAY).parse().unwrap_or(0);
        let wanted = annotation(ADDRESSES).split(',');
        let strings = |pointer: &str| {
            let list = object.pointer(pointer).and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(OsString::from)
        };
        let command = strings("/spec/containers/0/command");
        Self {
            api: Api::of(lab),
            lab: lab.clone(),
            node: node.clone(),
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
            uid: text(object, "/metadata/uid").to_owned(),
            command: command.chain(strings("/spec/containers/0/args")).collect(),
            status_delay: Duration::from_millis(delay),
            addresses: wanted.filter_map(|address| address.parse().ok()).collect(),
            end_signal,
        }
    }

    /// Runs a pod with a network of its own until its object is removed.
    pub(super) fn live(self) {
        match self.begin() {
            Ok(()) => {}
            // The lab's folder or the machine fails: the pod waits, and its object says why.
            Err(error) => {
                eprintln!("{}/{}: {}", self.namespace, self.name, chain(&error));
                self.report(&Stage::Waiting(chain(&error)));
            }
        }
        self.end_signal.wait();
        while let Err(error) = self.end() {
            eprintln!("{}/{}: {}", self.namespace, self.name, chain(&error));
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Reports a pod of the host network, with the address of its node. Nothing of it runs here.
    pub(super) fn live_on_host(self) {
        self.report(&Stage::Running(self.node.addresses().to_vec()));
        self.end_signal.wait();
        while self.remove_object().is_err() {
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Up to the addresses in the status, or to the end of the pod.
    fn begin(&self) -> Result<(), LabError> {
        let known = self.record()?;
        let mut pod = match known {
            Some(pod) => pod,
            None => {
                self.report(&Stage::Admitted);
                let (namespace, name) = (&self.namespace, &self.name);
                self.lab
                    .register_pod(namespace, name, &self.uid, &self.node.name)?
            }
        };
        if !self.lab.runs(&pod.sandbox())? {
            if !self.connect(&mut pod)? {
                return Ok(());
            }
            self.lab.start_pod_process(&pod, &self.command)?;
            if self.end_signal.wait_for(self.status_delay) {
                return Ok(());
            }
        }
        self.report(&Stage::Running(pod.addresses));
        Ok(())
    }

    /// Makes the pod's namespace and calls CNI ADD until it succeeds; answers whether it did before the end of the pod.
    fn connect(&self, pod: &mut PodRecord) -> Result<bool, LabError> {
        let sandbox = self.lab.namespace(&pod.sandbox());
        if !sandbox.path().exists() {
            self.lab.make_namespace(&sandbox)?;
        }
        let node_namespace = self.lab.node_namespace(&self.node.name);
        let plugins = self
            .lab
            .chain(pod, &self.node, &node_namespace, &self.addresses)?;
        let mut reported = String::new();
        loop {
            match plugins.add() {
                Ok(addresses) => {
                    pod.addresses = addresses;
                    self.lab.save_pod(pod)?;
                    return Ok(true);
                }
                Err(error) => {
                    let why = chain(&error);
                    if why != reported {
                        self.report(&Stage::Waiting(why.clone()));
                        reported = why;
                    }
                }
            }
            // A kubelet tears the sandbox's network down before it tries again. What that fails on is told by the next
            // attempt or by the pod's end.
            let _ = plugins.del();
            if self.end_signal.wait_for(RETRY_PAUSE) {
                return Ok(false);
            }
        }
    }

    /// Ends the process, calls CNI DEL, and lets the object go.
    fn end(&self) -> Result<(), LabError> {
        if let Some(pod) = self.record()? {
            self.lab.end_pod(&pod)?;
            self.lab.bury_pod(&pod)?;
        }
        self.remove_object()
    }

    /// The lab's record of this pod, unless it has none yet or it is over.
    fn record(&self) -> Result<Option<PodRecord>, LabError> {
        let pods = self.lab.pods()?;
        Ok(pods.into_iter().find(|pod| pod.uid == self.uid))
    }

    fn remove_object(&self) -> Result<(), LabError> {
        remove_object(&self.api, &self.namespace, &self.name, &self.uid)
    }

    /// Writes the status until the API server has taken or refused it, or the pod has to end.
    fn report(&self, stage: &Stage) {
        let mut patch = status(&self.node, stage);
        // The API server refuses the patch of a namesake.
        patch["metadata"] = json!({"uid": self.uid});
        let path = format!("{}/{}/status", pods_path(&self.namespace), self.name);
        let mut reported = String::new();
        while let Err(error) = self.api.patch(&path, PatchKind::Strategic, &patch) {
            let why = chain(&error);
            if why != reported {
                eprintln!("{path}: {why}");
                reported = why;
            }
            // Refused is refused: the pod is gone, or another one has its name.
            let refused = matches!(
                error,
                LabError::ApiRefused {
                    code: 400..=428,
                    ..
                }
            );
            if refused || self.end_signal.wait_for(RETRY_PAUSE) {
                return;
            }
        }
    }
}

/// Removes an object whose pod is gone, as a kubelet does at the end: without grace, and never a namesake's.
pub(super) fn remove_object(
    api: &Api,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), LabError> {
    let path = format!("{}/{name}", pods_path(namespace));
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    match api.delete(&path, &options) {
        // A conflict: the object of that name is another one by now.
        Ok(_) | Err(LabError::ApiRefused { code: 409, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
