//! Pods as objects: what `pod create` and `pod delete` ask for. The kubelet does the work.

use std::time::Duration;

use postern_host_testing::patience::Patience;
use serde_json::{Value, json};

use crate::cluster::Api;
use crate::lab::LabError;
use crate::lab::{Lab, PodOptions, PodRecord, wait_until};

/// Annotation: milliseconds between the start of a pod's process and its addresses in the status.
pub(super) const STATUS_DELAY: &str = "lab.postern.dev/status-delay";
/// Annotation: addresses that the pod asks its CNI for.
pub(super) const ADDRESSES: &str = "lab.postern.dev/addresses";

/// How long the kubelet may take to report, besides what CNI and the delay take.
const REPORT_DEADLINE: Duration = Duration::from_secs(30);

/// How long a pod may take to go.
const DELETE_DEADLINE: Duration = Duration::from_secs(60);

/// The path of the pods of a namespace.
pub(super) fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

impl Lab {
    /// Creates a pod that is bound to its node, and waits until the kubelet reports it as running.
    pub(crate) fn create_api_pod(
        &self,
        namespace: &str,
        name: &str,
        options: &PodOptions,
    ) -> Result<PodRecord, LabError> {
        let node = self.node(&options.node)?;
        self.ensure_api_namespace(namespace)?;
        let api = Api::of(self);
        let mut object = pod_object(namespace, name, &node.name, options);
        let upstream = self.on_kubelets()?;
        // What a container finds in its environment stands in its object, and so before the object has a UID.
        let mut pod = upstream
            .then(|| self.new_record(namespace, name, "", &node.name))
            .transpose()?;
        if let (Some(pod), Some(spec)) = (&pod, object["spec"].as_object_mut()) {
            let own = self.container_spec(pod, options)?;
            spec.extend(own.as_object().cloned().unwrap_or_default());
        }
        let stored = match api.create(&pods_path(namespace), &object) {
            Err(LabError::ApiRefused { code: 409, .. }) => {
                let name = format!("{namespace}/{name}");
                return Err(LabError::PodExists { name });
            }
            other => other?,
        };
        let uid = text(&stored, "/metadata/uid").to_owned();
        if let Some(pod) = &mut pod {
            uid.clone_into(&mut pod.uid);
            self.save_pod(pod)?;
        }
        let path = format!("{}/{name}", pods_path(namespace));
        let deadline = options.timeout + options.status_delay + REPORT_DEADLINE;
        let waited = self.await_running(&api, &path, &uid, deadline);
        if waited.is_err() {
            // Why it did not start is what to tell; what the clean-up may say on top of it would hide it.
            let _ = api
                .delete(&path, &json!({"preconditions": {"uid": uid}}))
                .and_then(|_| self.await_gone(&api, &path, &uid));
        }
        waited
    }

    /// Deletes a pod, and waits until the kubelet has taken it down and its object is gone.
    pub(crate) fn delete_api_pod(&self, key: &str) -> Result<(), LabError> {
        let (namespace, name) = crate::lab::pod_name(key)?;
        let api = Api::of(self);
        let path = format!("{}/{name}", pods_path(&namespace));
        let none = || LabError::NoPod {
            name: key.to_owned(),
        };
        let object = api.get(&path)?.ok_or_else(none)?;
        let uid = text(&object, "/metadata/uid");
        let only = json!({"preconditions": {"uid": uid}});
        api.delete(&path, &only)?.ok_or_else(none)?;
        self.await_gone(&api, &path, uid)?;
        if self.on_kubelets()? {
            self.forget_container(&self.record(uid)?)?;
        }
        Ok(())
    }

    fn await_running(
        &self,
        api: &Api,
        path: &str,
        uid: &str,
        deadline: Duration,
    ) -> Result<PodRecord, LabError> {
        let patience = Patience::of(deadline);
        let mut last = String::from("the kubelet has said nothing about it");
        loop {
            // An API server that is away for a moment delays the answer and changes nothing about it.
            if let Ok(Some(pod)) = api.get(path)
                && text(&pod, "/metadata/uid") == uid
            {
                if text(&pod, "/status/phase") == "Running" {
                    let record = self.record(uid)?;
                    return match self.on_kubelets()? {
                        true => self.adopt_container(record, &pod),
                        false => Ok(record),
                    };
                }
                let waiting = text(&pod, "/status/containerStatuses/0/state/waiting/message");
                if !waiting.is_empty() {
                    waiting.clone_into(&mut last);
                }
            }
            if patience.is_over() {
                return Err(LabError::Timeout {
                    what: format!("the start of {path}"),
                    seconds: deadline.as_secs_f64(),
                    detail: format!("; last: {last}"),
                });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn record(&self, uid: &str) -> Result<PodRecord, LabError> {
        let found = self.all_pods()?.into_iter().find(|pod| pod.uid == uid);
        found.ok_or_else(|| LabError::NoPod {
            name: uid.to_owned(),
        })
    }

    fn await_gone(&self, api: &Api, path: &str, uid: &str) -> Result<(), LabError> {
        wait_until(DELETE_DEADLINE, &format!("the end of {path}"), || {
            let still = api
                .get(path)?
                .is_some_and(|pod| text(&pod, "/metadata/uid") == uid);
            Ok((!still).then_some(()))
        })
    }
}

/// A string of an object, or the empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn pod_object(namespace: &str, name: &str, node: &str, options: &PodOptions) -> Value {
    let labels: serde_json::Map<String, Value> = options
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let addresses: Vec<String> = options.addresses.iter().map(ToString::to_string).collect();
    let command: Vec<_> = options
        .command
        .iter()
        .map(|part| part.to_string_lossy())
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace, "name": name, "labels": labels,
            "annotations": {
                STATUS_DELAY: options.status_delay.as_millis().to_string(),
                ADDRESSES: addresses.join(","),
            },
        },
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            // The lab kills at once; namespaces would wait for the default of 30 seconds.
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "none", "command": command}],
        },
    })
}
