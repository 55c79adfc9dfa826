//! The objects of the lab's cluster: one YAML file each in `manifests/`, with the metadata that an API server would
//! add.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use posternctl::schema::judge;
use serde::Serialize;
use serde_json::{Value, json};

use crate::lab::LabError;
use crate::lab::topology::{GATEWAY_LABEL, Node};
use crate::lab::{Lab, PodRecord, uid};

/// Kinds without a namespace; every other object without one is in `default`, as with kubectl.
const CLUSTER_SCOPED: [&str; 6] = [
    "Namespace",
    "Node",
    "ExitNode",
    "ClusterEgressPolicy",
    "InterfaceIsolation",
    "CustomResourceDefinition",
];

/// What became of one object of `apply` or `delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    pub kind: String,
    /// `namespace/name`, or the name.
    pub name: String,
    /// `created`, `configured`, `unchanged`, `deleted` or `absent`; `applied` on an API server, which does not report
    /// more.
    pub outcome: &'static str,
}

/// Reads every object of a file, of the `.yaml`, `.yml` and `.json` files of a folder, or (`-`) of standard input.
///
/// # Errors
/// When something cannot be read or is not YAML.
pub fn read_objects(source: &Path) -> Result<Vec<Value>, LabError> {
    if source == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(LabError::file("read", source))?;
        return parse_objects(&text, "standard input");
    }
    if !source.is_dir() {
        let text = fs::read_to_string(source).map_err(LabError::file("read", source))?;
        return parse_objects(&text, &source.display().to_string());
    }
    let entries = fs::read_dir(source).map_err(LabError::file("list", source))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
    });
    paths.sort();
    let objects = paths
        .iter()
        .map(|path| read_objects(path))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(objects.into_iter().flatten().collect())
}

/// Every object of a YAML text: its documents, and the items of lists.
pub(crate) fn parse_objects(text: &str, what: &str) -> Result<Vec<Value>, LabError> {
    let yaml = |source| LabError::YamlRead {
        what: what.to_owned(),
        source: Box::new(source),
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(yaml)?;
    let flat = documents.into_iter().flat_map(|document| {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => items.clone(),
            None => vec![document],
        }
    });
    Ok(flat.filter(|object| !object.is_null()).collect())
}

impl Lab {
    /// Writes objects into `manifests/`; each keeps its UID, and its generation grows when its spec changes. With an
    /// API server they are applied there, by `kubectl apply --server-side`.
    ///
    /// # Errors
    /// When an object has no kind or name, or a file cannot be written; `Command` with the API server's message, and
    /// `Refused` with that of the same definitions where there is no API server.
    pub fn apply(&self, objects: Vec<Value>) -> Result<Vec<Applied>, LabError> {
        if self.on_api_server()? {
            self.ensure_namespaces_of(&objects)?;
            return self.kubectl_apply(&objects);
        }
        // Every object is judged before the first is written, so that a refusal changes no object.
        for object in &objects {
            judge(object).map_err(|source| LabError::Refused { source })?;
        }
        objects
            .into_iter()
            .map(|object| self.apply_one(object))
            .collect()
    }

    /// Removes objects from `manifests/`, or from the API server.
    ///
    /// # Errors
    /// When an object has no kind or name, or a file cannot be removed; `Command` with the API server's message.
    pub fn delete(&self, objects: &[Value]) -> Result<Vec<Applied>, LabError> {
        if self.on_api_server()? {
            return self.kubectl_delete(objects);
        }
        objects
            .iter()
            .map(|object| self.delete_one(object))
            .collect()
    }

    /// The object as it is stored, or nothing. Cluster-scoped kinds take an empty namespace.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn object(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, LabError> {
        if self.on_api_server()? {
            return self.kubectl_get(kind, namespace, name);
        }
        let path = self.manifest(kind, namespace, name);
        if !path.exists() {
            return Ok(None);
        }
        Ok(read_objects(&path)?.into_iter().next())
    }

    fn apply_one(&self, mut object: Value) -> Result<Applied, LabError> {
        let identity = Identity::of(&object)?;
        let before = self.object(&identity.kind, &identity.namespace, &identity.name)?;
        complete(&mut object, before.as_ref(), &identity)?;
        let outcome = match &before {
            None => "created",
            Some(before) if *before == object => "unchanged",
            Some(_) => "configured",
        };
        if outcome != "unchanged" {
            let yaml = |source| LabError::YamlWrite {
                what: identity.shown(),
                source: Box::new(source),
            };
            let text = serde_saphyr::to_string(&object).map_err(yaml)?;
            let path = self.manifest(&identity.kind, &identity.namespace, &identity.name);
            self.write_atomically(&path, text.as_bytes())?;
        }
        Ok(Applied {
            name: identity.shown(),
            kind: identity.kind,
            outcome,
        })
    }

    fn delete_one(&self, object: &Value) -> Result<Applied, LabError> {
        let identity = Identity::of(object)?;
        let path = self.manifest(&identity.kind, &identity.namespace, &identity.name);
        let outcome = match fs::remove_file(&path) {
            Ok(()) => "deleted",
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "absent",
            Err(error) => return Err(LabError::file("remove", path)(error)),
        };
        Ok(Applied {
            name: identity.shown(),
            kind: identity.kind,
            outcome,
        })
    }

    fn manifest(&self, kind: &str, namespace: &str, name: &str) -> PathBuf {
        let scope = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}.")
        };
        self.dir
            .join("manifests")
            .join(format!("{}.{scope}{name}.yaml", kind.to_lowercase()))
    }

    /// Creates the namespaces of these objects, which files need not contain.
    fn ensure_namespaces_of(&self, objects: &[Value]) -> Result<(), LabError> {
        let text = |object: &Value, path: &str| {
            let value = object.pointer(path).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        let given: BTreeSet<String> = objects
            .iter()
            .filter(|object| object["kind"] == "Namespace")
            .filter_map(|object| text(object, "/metadata/name"))
            .collect();
        let needed: BTreeSet<String> = objects
            .iter()
            .filter_map(|object| text(object, "/metadata/namespace"))
            .collect();
        needed
            .difference(&given)
            .try_for_each(|name| self.ensure_api_namespace(name))
    }

    /// Makes the Namespace object of this name unless it is there.
    pub(crate) fn ensure_kube_namespace(&self, name: &str) -> Result<(), LabError> {
        if self.on_api_server()? {
            return self.ensure_api_namespace(name);
        }
        if self.object("Namespace", "", name)?.is_none() {
            let labels = json!({"kubernetes.io/metadata.name": name});
            let metadata = json!({"name": name, "labels": labels});
            self.apply(vec![
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
            ])?;
        }
        Ok(())
    }
}

struct Identity {
    kind: String,
    namespace: String,
    name: String,
}

impl Identity {
    fn of(object: &Value) -> Result<Self, LabError> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let missing = |what| LabError::Invalid {
            what: "object",
            value: object.to_string().chars().take(80).collect(),
            why: format!("it has no {what}"),
        };
        let kind = text("/kind").ok_or_else(|| missing("kind"))?;
        let name = text("/metadata/name").ok_or_else(|| missing("metadata.name"))?;
        let namespace = match text("/metadata/namespace") {
            _ if CLUSTER_SCOPED.contains(&kind.as_str()) => String::new(),
            Some(namespace) => namespace,
            None => "default".to_owned(),
        };
        Ok(Self {
            kind,
            namespace,
            name,
        })
    }

    fn shown(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

/// Adds what an API server adds: namespace, UID, creation time, generation; a stored status survives an apply.
fn complete(
    object: &mut Value,
    before: Option<&Value>,
    identity: &Identity,
) -> Result<(), LabError> {
    let old = |pointer: &str| before.and_then(|before| before.pointer(pointer)).cloned();
    let changed = before.is_some_and(|before| before.get("spec") != object.get("spec"));
    let generation = old("/metadata/generation")
        .and_then(|value| value.as_i64())
        .unwrap_or(0);
    let generation = if changed || before.is_none() {
        generation + 1
    } else {
        generation
    };
    if object.get("status").is_none()
        && let Some(status) = old("/status")
    {
        object["status"] = status;
    }
    let metadata = &mut object["metadata"];
    if !identity.namespace.is_empty() {
        metadata["namespace"] = json!(identity.namespace);
    }
    if metadata.get("uid").is_none() {
        metadata["uid"] = match old("/metadata/uid") {
            Some(uid) => uid,
            None => json!(uid()?),
        };
    }
    let now = json!(
        Timestamp::now()
            .round(jiff::Unit::Second)
            .unwrap_or_default()
            .to_string()
    );
    metadata["creationTimestamp"] = old("/metadata/creationTimestamp").unwrap_or(now);
    metadata["generation"] = json!(generation);
    Ok(())
}

/// The Node object as a kubelet and a cloud controller would fill it.
pub(crate) fn node_object(node: &Node) -> Value {
    let mut labels = json!({"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"});
    if node.gateway {
        labels[GATEWAY_LABEL] = json!(node.name);
    }
    let addresses: Vec<Value> = node
        .addresses()
        .iter()
        .map(|address| json!({"type": "InternalIP", "address": address}))
        .collect();
    let ranges = [node.pods4().to_string(), node.pods6().to_string()];
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "uid": node.uid, "labels": labels},
        "spec": {"podCIDR": ranges[0], "podCIDRs": ranges},
        "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// The Pod object of this record: bound from its first moment, with addresses in its status once they are reported.
pub(crate) fn pod_object(pod: &PodRecord, labels: &[(String, String)], phase: &str) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    let mut status = json!({"phase": phase});
    if phase == "Running" {
        status["podIP"] = json!(pod.addresses.first());
        status["podIPs"] = pod
            .addresses
            .iter()
            .map(|address| json!({"ip": address}))
            .collect();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "labels": labels},
        "spec": {"nodeName": pod.node, "containers": [{"name": "main", "image": "none"}]},
        "status": status,
    })
}
