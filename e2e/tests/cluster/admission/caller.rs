//! Programs as the API server knows them: by a token.

use std::path::PathBuf;

use postern_e2e::cluster::{BoundPod, token, write_kubeconfig};
use postern_e2e::lab::sandbox::command;
use serde_json::{Value, json};

use crate::admission::cluster::{Cluster, NAMESPACE};

/// A client with a token.
pub(crate) struct Caller<'a> {
    cluster: &'a Cluster,
    kubeconfig: PathBuf,
}

impl<'a> Caller<'a> {
    /// A service account with a token that is bound to nothing.
    pub(crate) fn unbound(cluster: &'a Cluster, account: &str) -> Self {
        let token = token(cluster.lab(), NAMESPACE, account, None).unwrap();
        Self::with(cluster, &format!("{account}-unbound"), &token)
    }

    /// The agent of a node, with a token as the kubelet projects it into its pod. The pod is made for it.
    pub(crate) fn agent_of(cluster: &'a Cluster, node: &str) -> Self {
        let pod = cluster
            .create(
                &format!("/api/v1/namespaces/{NAMESPACE}/pods"),
                &json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"generateName": format!("agent-{node}-")},
                    "spec": {
                        "nodeName": node, "serviceAccountName": "postern-agent",
                        "containers": [{"name": "agent", "image": "postern-agent:0.1.0"}],
                    },
                }),
            )
            .unwrap();
        let [name, uid] = ["name", "uid"].map(|key| pod["metadata"][key].as_str().unwrap());
        let bound = BoundPod { name, uid };
        let token = token(cluster.lab(), NAMESPACE, "postern-agent", Some(bound)).unwrap();
        Self::with(cluster, name, &token)
    }

    fn with(cluster: &'a Cluster, name: &str, token: &str) -> Self {
        let kubeconfig = cluster.lab().dir().join(format!("tmp/{name}.kubeconfig"));
        write_kubeconfig(cluster.lab(), &kubeconfig, name, token).unwrap();
        Self {
            cluster,
            kubeconfig,
        }
    }

    /// Runs kubectl with this token; returns its error output when it fails.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &Value) -> Result<String, String> {
        let mut command = self.cluster.lab().kubectl(arguments).unwrap();
        command.env("KUBECONFIG", &self.kubeconfig);
        let output = command::output(&mut command, Some(&input.to_string())).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    pub(crate) fn post(&self, path: &str, object: &Value) -> Result<String, String> {
        self.kubectl(&["create", "--raw", path, "-f", "-"], object)
    }

    pub(crate) fn put(&self, path: &str, object: &Value) -> Result<String, String> {
        self.kubectl(&["replace", "--raw", path, "-f", "-"], object)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<String, String> {
        self.kubectl(&["delete", "--raw", path], &Value::Null)
    }
}

/// Checks that the answer is a refusal with this text.
pub(crate) fn assert_refused(answer: &Result<impl std::fmt::Debug, String>, says: &str) {
    match answer {
        Err(message) => assert!(message.contains(says), "{message} does not say {says:?}"),
        Ok(done) => panic!("{done:?} was let in; it should be refused with {says:?}"),
    }
}
