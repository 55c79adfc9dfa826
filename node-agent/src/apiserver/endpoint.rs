//! Where the API server is, and with which credentials it is asked: a kubeconfig, or the pod's own environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Response};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::time::timeout;
use tower::timeout::TimeoutLayer;
use tower::util::MapResponseLayer;

use super::error::ApiError;
use super::health::ApiHealth;
use crate::files::{self, FileError};

/// An API server that does not answer for this long is away. A watch answers at once with its headers.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An answer, or the word that none came in time.
///
/// # Errors
/// [`ApiError::Late`], and what the client says.
pub(super) async fn in_time<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(ApiError::from),
        Err(_) => Err(ApiError::Late {
            seconds: PATIENCE.as_secs(),
        }),
    }
}

/// Where the API server is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiEndpoint {
    /// A kubeconfig file.
    Kubeconfig(PathBuf),
    /// The environment and the files of a pod with a ServiceAccount.
    Pod,
}

impl ApiEndpoint {
    /// Reads what is there now: files change.
    ///
    /// # Errors
    /// [`ApiError::Kubeconfig`], [`ApiError::Program`], [`ApiError::Pod`].
    pub async fn config(&self) -> Result<Config, ApiError> {
        let mut config = match self {
            Self::Kubeconfig(path) => from_file(path).await?,
            Self::Pod => Config::incluster().map_err(ApiError::Pod)?,
        };
        config.connect_timeout = Some(Duration::from_secs(5));
        config.write_timeout = Some(PATIENCE);
        // The exchange has a back-off of its own, and logs what fails.
        config.default_retry = false;
        let ourselves =
            HeaderValue::from_static(concat!("postern-agent/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, ourselves));
        Ok(config)
    }

    /// The token as it lies in its file now.
    ///
    /// # Errors
    /// Those of [`ApiEndpoint::config`], [`ApiError::NoTokenFile`], [`ApiError::TokenFile`].
    pub async fn token(&self) -> Result<String, ApiError> {
        let path = self.config().await?.auth_info.token_file;
        let path = PathBuf::from(path.ok_or(ApiError::NoTokenFile)?);
        let missing = |path| FileError::Read {
            path,
            source: std::io::ErrorKind::NotFound.into(),
        };
        let bytes = files::read(&path).map_err(ApiError::TokenFile)?;
        let bytes = bytes.ok_or_else(|| ApiError::TokenFile(missing(path)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A client whose answers are seen by `line`.
    ///
    /// # Errors
    /// Those of [`ApiEndpoint::config`], and [`ApiError::Client`].
    pub(super) async fn connect(&self, health: &Arc<ApiHealth>) -> Result<Client, ApiError> {
        let failed = |error| ApiError::Client(Box::new(error));
        let config = self.config().await?;
        let health = Arc::clone(health);
        let seen = MapResponseLayer::new(move |response| note(&health, response));
        let builder = ClientBuilder::try_from(config).map_err(failed)?;
        Ok(builder
            .with_layer(&TimeoutLayer::new(PATIENCE))
            .with_layer(&seen)
            .build())
    }
}

async fn from_file(path: &PathBuf) -> Result<Config, ApiError> {
    let failed = |source| ApiError::Kubeconfig {
        path: path.clone(),
        source: Box::new(source),
    };
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    let users = file
        .auth_infos
        .iter()
        .filter_map(|user| user.auth_info.as_ref());
    if users
        .into_iter()
        .any(|user| user.exec.is_some() || user.auth_provider.is_some())
    {
        return Err(ApiError::Program { path: path.clone() });
    }
    let mut clusters = file
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref());
    let names_proxy = clusters.any(|cluster| cluster.proxy_url.is_some());
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(file, &options).await;
    let mut config = config.map_err(failed)?;
    // A proxy of the environment is for programs that go out of the node's network; a file that names one is obeyed, or
    // refused by the client.
    if !names_proxy {
        config.proxy_url = None;
    }
    Ok(config)
}

fn note<B>(health: &ApiHealth, response: Response<B>) -> Response<B> {
    let retry_after = response.headers().get(RETRY_AFTER);
    let seconds = retry_after
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok());
    health.answered(response.status().as_u16(), seconds);
    response
}
