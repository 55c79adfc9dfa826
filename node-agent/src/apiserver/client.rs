//! The agent's client of the API server, and its token.

use std::path::PathBuf;
use std::sync::Arc;

use http::Response;
use kube::client::ClientBuilder;
use kube::{Client, Config};
use postern_apiserver::{
    ConnectError, Counted, DEADLINE, Endpoint, config as found, in_time as awaited,
};
use tower::timeout::TimeoutLayer;
use tower::util::MapResponseLayer;

use super::error::AgentApiError;
use super::health::ApiHealth;
use crate::files::{self, FileError};

/// An answer, or the error that none came in time.
///
/// # Errors
/// [`AgentApiError::Late`], and the errors of the client.
pub(super) async fn in_time<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, AgentApiError> {
    awaited(request).await.map_err(AgentApiError::from)
}

async fn config(endpoint: &Endpoint) -> Result<Config, AgentApiError> {
    let name = concat!("postern-agent/", env!("CARGO_PKG_VERSION"));
    let mut config = found(endpoint, name)
        .await
        .map_err(AgentApiError::Connect)?;
    config.write_timeout = Some(DEADLINE);
    Ok(config)
}

/// The current content of the token file.
///
/// # Errors
/// [`AgentApiError::Connect`], [`AgentApiError::NoTokenFile`], [`AgentApiError::TokenFile`].
pub(super) async fn token(endpoint: &Endpoint) -> Result<String, AgentApiError> {
    let path = config(endpoint).await?.auth_info.token_file;
    let path = PathBuf::from(path.ok_or(AgentApiError::NoTokenFile)?);
    let missing = |path| FileError::Read {
        path,
        source: std::io::ErrorKind::NotFound.into(),
    };
    let bytes = files::read(&path).map_err(AgentApiError::TokenFile)?;
    let bytes = bytes.ok_or_else(|| AgentApiError::TokenFile(missing(path)))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A client whose answers `health` sees.
///
/// # Errors
/// [`AgentApiError::Connect`].
pub(super) async fn connect(
    endpoint: &Endpoint,
    health: &Arc<ApiHealth>,
) -> Result<Client, AgentApiError> {
    let config = config(endpoint).await?;
    let failed = |error| AgentApiError::Connect(ConnectError::Client(Box::new(error)));
    let builder = ClientBuilder::try_from(config).map_err(failed)?;
    let health = Arc::clone(health);
    let requests = health.metrics().requests().clone();
    let seen = MapResponseLayer::new(move |response: Response<_>| {
        health.answered(response.status().as_u16());
        response
    });
    Ok(builder
        .with_layer(&TimeoutLayer::new(DEADLINE))
        .with_layer(&seen)
        .with_layer(&Counted::layer(requests))
        .build())
}
