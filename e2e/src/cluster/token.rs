//! Tokens of service accounts, bound to the pod that would use them.

use serde_json::{Value, json};

use crate::cluster::Api;
use crate::lab::Lab;
use crate::lab::LabError;

/// How long a token is valid, in seconds: longer than any lab lives. The API server's least is 600.
const SECONDS: u64 = 24 * 3600;

/// The pod that a token is bound to. The token ends with the pod, and names its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundPod<'a> {
    /// Its name, in the service account's namespace.
    pub name: &'a str,
    pub uid: &'a str,
}

/// Makes a token by TokenRequest, as a kubelet does for a projected volume.
///
/// With a pod that has a `spec.nodeName`, the API server reads from it `authentication.kubernetes.io/node-name` and
/// `node-uid` among the user's extra (KEP-4193).
///
/// # Errors
/// `NeedsApiServer`, or `ApiRefused`: no such account, no such pod, another UID.
pub fn token(
    lab: &Lab,
    namespace: &str,
    service_account: &str,
    pod: Option<BoundPod<'_>>,
) -> Result<String, LabError> {
    lab.needs_api_server("a token")?;
    let mut spec = json!({"expirationSeconds": SECONDS});
    if let Some(BoundPod { name, uid }) = pod {
        spec["boundObjectRef"] =
            json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
    }
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token");
    let answer = Api::of(lab).create(&path, &request)?;
    let token = answer.pointer("/status/token").and_then(Value::as_str);
    token
        .map(str::to_owned)
        .ok_or_else(|| LabError::ApiRefused {
            act: format!("make a token of {namespace}/{service_account}"),
            code: 200,
            message: "the answer holds no token".to_owned(),
        })
}
