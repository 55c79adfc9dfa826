//! The trust root as agents mount it is kept as the keys say. An edited one would be what a new agent trusts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use postern_apiserver::{ApiVerb, Failure};
use tracing::{info, warn};

use super::tally::Tally;
use super::writer::{WriteAttempt, Writer};
use crate::pipeline::object_key::ObjectKey;
use crate::signer::TRUST;

/// The state of the trust root, and the write that followed.
#[derive(Debug)]
pub enum TrustRootWrite {
    /// It says what it should.
    Same,
    /// It was not there.
    Made(WriteAttempt<ConfigMap>),
    /// Somebody had changed it, or the keys had changed.
    Mended(WriteAttempt<ConfigMap>),
}

impl TrustRootWrite {
    /// The write as it is counted.
    #[must_use]
    pub fn tally(&self) -> Tally {
        match self {
            Self::Same => Tally::default(),
            // The watch has not shown it yet.
            Self::Made(WriteAttempt::Failed(error)) if error.failure() == Failure::Exists => {
                Tally::default()
            }
            Self::Made(attempt) | Self::Mended(attempt) => attempt.tally(),
        }
    }
}

/// Makes the trust root, or puts it right. An intent does not wait for it: a node that trusts no key of ours yet refuses
/// what these keys signed and keeps what is in force.
pub async fn keep_trust(
    writer: &Writer,
    namespace: &str,
    shown: Option<&ConfigMap>,
    data: BTreeMap<String, String>,
) -> TrustRootWrite {
    if shown.is_some_and(|map| map.data.as_ref() == Some(&data) && map.binary_data.is_none()) {
        return TrustRootWrite::Same;
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
    let key = ObjectKey {
        kind: "ConfigMap",
        namespace: Some(namespace.to_owned()),
        name: TRUST.to_owned(),
    };
    let params = Writer::params();
    if shown.is_some() {
        let request = api.replace(TRUST, &params, &map);
        let attempt = writer.attempt(&key, ApiVerb::Replace, request).await;
        if matches!(attempt, WriteAttempt::Written(_)) {
            warn!("ConfigMap {TRUST} said something else than the signing keys and is put right");
        }
        return TrustRootWrite::Mended(attempt);
    }
    let request = api.create(&params, &map);
    let attempt = writer.attempt(&key, ApiVerb::Create, request).await;
    if matches!(attempt, WriteAttempt::Written(_)) {
        info!("the operator made ConfigMap {TRUST}");
    }
    TrustRootWrite::Made(attempt)
}
