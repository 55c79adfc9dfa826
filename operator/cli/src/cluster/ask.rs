//! One request to the API server, and what its failure means for the person who asked.

use postern_apiserver::in_time;

use super::error::ClusterError;
use super::request::ResourceRequest;

/// Waits for an answer, not for ever.
pub(super) async fn ask<T>(
    act: ResourceRequest,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ClusterError> {
    in_time(request)
        .await
        .map_err(|problem| ClusterError::of(act, problem))
}
