//! Where the API server is, with which credentials it is asked, and a client for it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use crate::requests::{Counted, Requests};

/// How long a connection may take to come up.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Where the API server's address comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    Kubeconfig(PathBuf),
    /// The environment and the files of a pod with a ServiceAccount.
    Pod,
    /// What kubectl would take; where there is none, the pod that this runs in.
    Kubectl,
}

/// What a kubeconfig may make a program do besides reading files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeconfigTrust {
    /// What kubectl would do: it may name a program that gives credentials, and the environment may name a proxy.
    Person,
    /// Neither: a privileged program of a node starts none for its credentials, and a proxy of the environment is for programs
    /// that leave the node's network. A proxy that the file names is used.
    Node,
}

/// Where the API server is, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Who says where it is.
    pub address: ServerAddress,
    /// A context of the kubeconfig; none: the current one.
    pub context: Option<String>,
    /// What the kubeconfig may ask for.
    pub trust: KubeconfigTrust,
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig that was named cannot be used.
    #[error("kubeconfig {path:?} cannot be used")]
    Kubeconfig {
        path: PathBuf,
        #[source]
        source: KubeconfigError,
    },
    /// The context that was named cannot be used.
    #[error(
        "context {context:?} cannot be used; `kubectl config get-contexts` lists those that there are"
    )]
    Context {
        context: String,
        #[source]
        source: KubeconfigError,
    },
    /// Nothing was named and nothing was found.
    #[error("no cluster is known: write --kubeconfig FILE, or set KUBECONFIG")]
    NoKubeconfig(#[source] KubeconfigError),
    /// No kubeconfig was named, and this is no pod.
    #[error("no kubeconfig is given and the pod has no account")]
    Account(#[source] InClusterError),
    /// A node's kubeconfig asks for more than a node does.
    #[error(
        "the kubeconfig {path:?} starts a program for its credentials, and a node's program starts none: write tokenFile"
    )]
    CredentialProgram { path: PathBuf },
    /// No client can be made of it.
    #[error("what the kubeconfig says makes no client")]
    Client(#[source] Box<kube::Error>),
}

impl Endpoint {
    /// A kubeconfig with its current context; none: the pod's own account.
    #[must_use]
    pub fn of_program(kubeconfig: Option<PathBuf>) -> Self {
        Self {
            address: kubeconfig.map_or(ServerAddress::Pod, ServerAddress::Kubeconfig),
            context: None,
            trust: KubeconfigTrust::Person,
        }
    }

    /// The same for a privileged program of a node.
    #[must_use]
    pub fn of_node(kubeconfig: Option<PathBuf>) -> Self {
        Self {
            trust: KubeconfigTrust::Node,
            ..Self::of_program(kubeconfig)
        }
    }
}

/// Reads what is there now: files change. `agent` stands in the API server's audit log. The client's own retries are off:
/// a write that is sent again later could be a stale leader's, and each program has a pace of its own.
///
/// # Errors
/// [`ConnectError`], but not [`ConnectError::Client`].
pub async fn config(endpoint: &Endpoint, agent: &'static str) -> Result<Config, ConnectError> {
    let mut config = match &endpoint.address {
        ServerAddress::Pod => Config::incluster().map_err(ConnectError::Account)?,
        ServerAddress::Kubeconfig(_) | ServerAddress::Kubectl => from_files(endpoint).await?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_DEADLINE);
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(agent)));
    Ok(config)
}

/// A client that counts what it asks.
///
/// # Errors
/// [`ConnectError::Client`]: a certificate or a token that is none.
pub fn client(config: Config, requests: Requests) -> Result<Client, ConnectError> {
    let builder =
        ClientBuilder::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))?;
    Ok(builder.with_layer(&Counted::layer(requests)).build())
}

async fn from_files(endpoint: &Endpoint) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions {
        context: endpoint.context.clone(),
        ..KubeConfigOptions::default()
    };
    let found = match &endpoint.address {
        ServerAddress::Kubeconfig(path) => {
            let read = Kubeconfig::read_from(path).map_err(|source| unusable(endpoint, source))?;
            let names_proxy = names_proxy(&read);
            if endpoint.trust == KubeconfigTrust::Node && starts_a_program(&read) {
                return Err(ConnectError::CredentialProgram { path: path.clone() });
            }
            let mut found = Config::from_custom_kubeconfig(read, &options).await;
            if let Ok(config) = &mut found
                && endpoint.trust == KubeconfigTrust::Node
                && !names_proxy
            {
                config.proxy_url = None;
            }
            found
        }
        ServerAddress::Pod | ServerAddress::Kubectl => Config::from_kubeconfig(&options).await,
    };
    match found {
        Err(error) if is_absent(&error) && names_nothing(endpoint) => {
            Config::incluster().map_err(|_| ConnectError::NoKubeconfig(error))
        }
        other => other.map_err(|source| unusable(endpoint, source)),
    }
}

fn starts_a_program(file: &Kubeconfig) -> bool {
    let users = file.auth_infos.iter();
    let mut users = users.filter_map(|user| user.auth_info.as_ref());
    users.any(|user| user.exec.is_some() || user.auth_provider.is_some())
}

fn names_proxy(file: &Kubeconfig) -> bool {
    let clusters = file.clusters.iter();
    let mut clusters = clusters.filter_map(|named| named.cluster.as_ref());
    clusters.any(|cluster| cluster.proxy_url.is_some())
}

/// Whether there is no kubeconfig at all. One that is there and wrong is a mistake of whoever wrote it, and no reason to
/// ask elsewhere.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(why, _) => why.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

fn names_nothing(endpoint: &Endpoint) -> bool {
    endpoint.address == ServerAddress::Kubectl
        && endpoint.context.is_none()
        && std::env::var_os("KUBECONFIG").is_none()
}

fn unusable(endpoint: &Endpoint, source: KubeconfigError) -> ConnectError {
    match (&endpoint.address, &endpoint.context, &source) {
        (_, Some(context), KubeconfigError::LoadContext(_)) => ConnectError::Context {
            context: context.clone(),
            source,
        },
        (ServerAddress::Kubeconfig(path), _, _) => ConnectError::Kubeconfig {
            path: path.clone(),
            source,
        },
        (ServerAddress::Pod | ServerAddress::Kubectl, _, _) => ConnectError::NoKubeconfig(source),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{ConnectError, Endpoint, ServerAddress, config};

    #[tokio::test]
    async fn a_kubeconfig_that_is_named_and_missing_is_named_in_the_error() {
        let path = PathBuf::from("/there/is/none");
        let endpoint = Endpoint::of_program(Some(path.clone()));
        match config(&endpoint, "test/1").await {
            Err(ConnectError::Kubeconfig { path: named, .. }) => assert_eq!(named, path),
            other => panic!("no kubeconfig, not {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_node_starts_no_program_for_its_credentials() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        let text = r#"{"clusters": [{"name": "c", "cluster": {"server": "http://192.0.2.1"}}],
            "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "current-context": "c"}"#;
        std::fs::write(&path, text).expect("a file");
        let refused = config(&Endpoint::of_node(Some(path)), "test/1").await;
        assert!(matches!(
            refused,
            Err(ConnectError::CredentialProgram { .. })
        ));
    }

    #[test]
    fn a_program_without_a_kubeconfig_uses_the_account_of_its_pod() {
        assert_eq!(Endpoint::of_program(None).address, ServerAddress::Pod);
    }
}
