//! How the API server is reached: a kubeconfig, or the pod's own account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use super::counted::{Counted, Requests};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);

/// Who asks, in the API server's audit log and in its counts.
const OURSELVES: HeaderValue =
    HeaderValue::from_static(concat!("postern-operator/", env!("CARGO_PKG_VERSION")));

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {path:?} cannot be used")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KubeconfigError,
    },
    /// There is no kubeconfig and this is no pod.
    #[error("no kubeconfig is given and the pod has no account")]
    Account(#[source] kube::config::InClusterError),
    /// No client can be made of it.
    #[error("no client can be made")]
    Client(#[source] kube::Error),
}

/// Makes a client that counts what it asks. It retries nothing by itself: a write that comes late could be a stale
/// leader's.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(
    kubeconfig: Option<&Path>,
    requests: Requests,
) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster().map_err(ConnectError::Account)?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.headers.push((USER_AGENT, OURSELVES));
    let builder = ClientBuilder::try_from(config).map_err(ConnectError::Client)?;
    Ok(builder.with_layer(&Counted::layer(requests)).build())
}

async fn from_file(path: &Path) -> Result<Config, ConnectError> {
    let refuse = |source| ConnectError::Kubeconfig {
        path: path.to_owned(),
        source,
    };
    let read = Kubeconfig::read_from(path).map_err(refuse)?;
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .map_err(refuse)
}
