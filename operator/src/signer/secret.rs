//! The Secret: read, made once, never made again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use postern_apiserver::{ApiError, ApiVerb, Failure, within};
use postern_crds::names::OPERATOR_FIELD_MANAGER;
use postern_crds::{NodeIntent, NodeReport};
use postern_intent::KeyId;
use serde_json::Value;
use thiserror::Error;
use tracing::{info, warn};

use super::keys::{KeyRing, SigningKeyError, generate};
use crate::error::chain;

/// Name of the Secret with the signing keys.
pub const SECRET: &str = "postern-signing-key";

/// Key ids that are to go, separated by commas.
const RETIRE_ANNOTATION: &str = "postern.dev/retire";

/// How many reports are looked at with one request.
const REPORTS_AT_ONCE: u32 = 100;

/// How often the Secret is read again. It cannot be watched: the operator may read this one only.
const PERIOD: Duration = Duration::from_secs(60);

/// Why there is nothing to sign with.
#[derive(Debug, Error)]
pub enum SignerError {
    /// The API server did not answer as it should.
    #[error("the signing key cannot be had")]
    Api(#[source] ApiError),
    /// It is gone although it was there: nodes trust a key that nobody has any more.
    #[error(
        "Secret {SECRET} is gone while nodes trust its key; put it back from the backup, or follow the runbook \"A lost \
         signing key\" of docs/operator.md"
    )]
    Lost,
    /// It has no key.
    #[error("Secret {SECRET} has no entry that ends in .pem")]
    Empty,
    /// An entry is no key.
    #[error("Secret {SECRET} cannot be used")]
    Key(#[source] SigningKeyError),
}

#[derive(Debug, Clone)]
pub struct SigningKeys {
    pub ring: Arc<KeyRing>,
    /// Those of them that are to go.
    pub retiring: BTreeSet<KeyId>,
}

/// Reads the Secret, and makes it where there has never been one.
pub struct Signer {
    secrets: Api<Secret>,
    intents: Api<NodeIntent>,
    /// Reports as they are: what another version wrote must not keep its keys from being seen.
    reports: Api<DynamicObject>,
    known: Option<(SigningKeys, Instant)>,
}

impl Signer {
    /// For the Secret of a namespace.
    #[must_use]
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            intents: Api::all(client.clone()),
            reports: Api::all_with(client.clone(), &ApiResource::erase::<NodeReport>(&())),
            known: None,
        }
    }

    /// The keys. They are read again once a minute; where that fails for a passing reason, those known stay.
    ///
    /// # Errors
    /// [`SignerError`].
    pub async fn signing(&mut self, now: Instant) -> Result<SigningKeys, SignerError> {
        if let Some((signing, at)) = &self.known
            && now.saturating_duration_since(*at) < PERIOD
        {
            return Ok(signing.clone());
        }
        match self.read().await {
            Ok(signing) => {
                self.known = Some((signing.clone(), now));
                Ok(signing)
            }
            Err(SignerError::Api(error)) if error.failure() == Failure::Passing => {
                let Some((signing, _)) = &self.known else {
                    return Err(SignerError::Api(error));
                };
                warn!(error = chain(&error), "the known signing keys stay");
                Ok(signing.clone())
            }
            Err(error) => {
                self.known = None;
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<SigningKeys, SignerError> {
        let request = self.secrets.get_opt(SECRET);
        let found = within(ApiVerb::Get, what(), request).await;
        let secret = match found.map_err(SignerError::Api)? {
            Some(secret) => secret,
            None => self.make().await?,
        };
        let data: BTreeMap<String, ByteString> = secret.data.unwrap_or_default();
        let entries = data
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.0.as_slice()));
        let ring = KeyRing::read(entries).map_err(SignerError::Key)?;
        if ring.signing().is_empty() {
            return Err(SignerError::Empty);
        }
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let named: BTreeSet<&str> = annotations
            .get(RETIRE_ANNOTATION)
            .map(|text| text.split(',').map(str::trim).collect())
            .unwrap_or_default();
        let retiring = ring
            .public()
            .keys()
            .filter(|id| named.contains(id.as_str()))
            .cloned()
            .collect();
        Ok(SigningKeys {
            ring: Arc::new(ring),
            retiring,
        })
    }

    /// Is there something that only the missing key could have signed: an intent, or a node that pinned a key? Asked of
    /// the API server, not of a cache.
    async fn was_used(&self) -> Result<bool, ApiError> {
        let one = ListParams::default().limit(1);
        let request = self.intents.list_metadata(&one);
        let published = within(ApiVerb::List, "NodeIntents", request).await?;
        if !published.items.is_empty() {
            return Ok(true);
        }
        let mut page = ListParams::default().limit(REPORTS_AT_ONCE);
        loop {
            let found = within(ApiVerb::List, "NodeReports", self.reports.list(&page)).await?;
            if found.items.iter().any(has_pinned) {
                return Ok(true);
            }
            match found.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(false),
            }
        }
    }

    /// Makes the Secret, but only where no key was ever used.
    async fn make(&self) -> Result<Secret, SignerError> {
        if self.was_used().await.map_err(SignerError::Api)? {
            return Err(SignerError::Lost);
        }
        let pem = generate().map_err(SignerError::Key)?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some([("key.pem".to_owned(), ByteString(pem.into_bytes()))].into()),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(OPERATOR_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = self.secrets.create(&params, &secret);
        match within(ApiVerb::Create, what(), request).await {
            Ok(made) => {
                info!("the operator made the signing key");
                Ok(made)
            }
            // Somebody was faster: theirs counts.
            Err(error) if error.failure() == Failure::Exists => {
                let request = self.secrets.get(SECRET);
                within(ApiVerb::Get, what(), request)
                    .await
                    .map_err(SignerError::Api)
            }
            Err(error) => Err(SignerError::Api(error)),
        }
    }
}

/// Does the node that wrote this report trust keys?
fn has_pinned(report: &DynamicObject) -> bool {
    let keys = report.data.pointer("/status/trustedKeyIds");
    keys.and_then(Value::as_array)
        .is_some_and(|keys| !keys.is_empty())
}

fn what() -> String {
    format!("Secret {SECRET}")
}
