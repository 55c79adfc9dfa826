//! The trust root as agents mount it is kept as the keys say. An edited one would be what a new agent trusts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use tracing::{info, warn};

use super::write::Writer;
use crate::api::{Act, Failure, within};
use crate::pipeline::PipelineError;
use crate::signer::TRUST;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trusted {
    /// It says what it should.
    Same,
    /// It was not there and is made.
    Made,
    /// Somebody had changed it, or the keys had changed; it is put right.
    Mended,
}

/// Makes it, or puts it right.
///
/// # Errors
/// [`PipelineError::NotLeading`]: nothing was sent. [`PipelineError::Api`]: it was not done.
pub async fn keep_trust(
    writer: &Writer,
    namespace: &str,
    shown: Option<&ConfigMap>,
    data: BTreeMap<String, String>,
) -> Result<Trusted, PipelineError> {
    if shown.is_some_and(|map| map.data.as_ref() == Some(&data) && map.binary_data.is_none()) {
        return Ok(Trusted::Same);
    }
    if !writer.may_write() {
        return Err(PipelineError::NotLeading);
    }
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(TRUST.to_owned()),
            resource_version: shown.and_then(|map| map.metadata.resource_version.clone()),
            annotations: shown.and_then(|map| map.metadata.annotations.clone()),
            labels: shown.and_then(|map| map.metadata.labels.clone()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let api: Api<ConfigMap> = Api::namespaced(writer.client.clone(), namespace);
    let (params, what) = (Writer::params(), format!("ConfigMap {TRUST}"));
    if shown.is_some() {
        warn!("ConfigMap {TRUST} says something else than the keys and is put right");
        let request = api.replace(TRUST, &params, &map);
        within(Act::Replace, what, request)
            .await
            .map_err(PipelineError::Api)?;
        return Ok(Trusted::Mended);
    }
    match within(Act::Create, what, api.create(&params, &map)).await {
        Ok(_) => {
            info!("made ConfigMap {TRUST}");
            Ok(Trusted::Made)
        }
        // The watch has not shown it yet.
        Err(error) if error.failure() == Failure::Exists => Ok(Trusted::Same),
        Err(error) => Err(PipelineError::Api(error)),
    }
}
