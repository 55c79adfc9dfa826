//! Addresses of the API server, and the kubeconfig files with them.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::LabError;
use crate::lab::topology::{self, API_PORT};

/// Where clients find the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The URL that every node reaches; front answers there.
    pub url: String,
    /// The certificate that the server's own leads to, PEM.
    pub authority: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kubeconfigs {
    /// For programs outside the lab, in the network namespace that `up` was called in.
    pub outside: PathBuf,
    /// For programs in the namespace of the control plane.
    pub inside: PathBuf,
}

/// Where operators and agents of this lab find the API server.
#[must_use]
pub fn endpoint(lab: &Lab) -> Endpoint {
    Endpoint {
        url: server(SocketAddrV4::new(topology::CONTROL4, API_PORT).into()),
        authority: lab.plane_dir().join("pki/ca.crt"),
    }
}

/// The administrator's kubeconfig files. Each has the context `lab`, which leads to the API server directly, and the
/// context `front`, which leads through the proxy, as operators and agents connect.
#[must_use]
pub fn kubeconfigs(lab: &Lab) -> Kubeconfigs {
    Kubeconfigs {
        outside: lab.plane_dir().join("outside.kubeconfig"),
        inside: lab.plane_dir().join("admin.kubeconfig"),
    }
}

/// Writes a kubeconfig with one user and one context, for a program on a node. Only root can read it.
///
/// # Errors
/// When it cannot be written.
pub fn write_kubeconfig(lab: &Lab, path: &Path, user: &str, token: &str) -> Result<(), LabError> {
    write(lab, path, user, token, &[("front", endpoint(lab).url)])
}

/// Writes a kubeconfig whose token is in a file of its own, which may be replaced.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_token_kubeconfig(
    lab: &Lab,
    path: &Path,
    user: &str,
    token: &Path,
) -> Result<(), LabError> {
    let user_of = json!({ "tokenFile": token });
    write_user(lab, path, (user, &user_of), &[("front", endpoint(lab).url)])
}

/// A server at this address.
pub(super) fn server(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// Writes a kubeconfig with one context per server, the first of which is the current one.
pub(super) fn write(
    lab: &Lab,
    path: &Path,
    user: &str,
    token: &str,
    servers: &[(&str, String)],
) -> Result<(), LabError> {
    write_user(lab, path, (user, &json!({ "token": token })), servers)
}

fn write_user(
    lab: &Lab,
    path: &Path,
    (user, credentials): (&str, &Value),
    servers: &[(&str, String)],
) -> Result<(), LabError> {
    let authority = endpoint(lab).authority;
    let clusters: Vec<Value> = servers
        .iter()
        .map(|(name, url)| {
            json!({"name": name, "cluster": {"server": url, "certificate-authority": authority}})
        })
        .collect();
    let contexts: Vec<Value> = servers
        .iter()
        .map(|(name, _)| json!({"name": name, "context": {"cluster": name, "user": user}}))
        .collect();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": user, "user": credentials}],
        "contexts": contexts,
        "current-context": servers.first().map(|(name, _)| name),
    });
    let yaml = |source| LabError::YamlWrite {
        what: "a kubeconfig".to_owned(),
        source: Box::new(source),
    };
    let text = serde_saphyr::to_string(&config).map_err(yaml)?;
    write_secret(lab, path, &text)
}

/// Writes a file that root alone can read.
pub(super) fn write_secret(lab: &Lab, path: &Path, text: &str) -> Result<(), LabError> {
    lab.write_atomically(path, text.as_bytes())?;
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, mode).map_err(LabError::file("protect", path))
}
