//! What the operator does: serialize once, sign these bytes, ship them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::body::{ClusterDocument, NodeDocument, NodeIdentity};
use crate::credential::CredentialError;
use crate::envelope::{
    DsseEnvelope, DsseSignature, PayloadError, PayloadType, pack, pre_authentication_encoding,
};
use crate::keys::{KeyId, KeySetDocument};
use crate::newtypes::Serial;

/// Tells a node to let go: every scope returns to `Unclaimed`, the guard goes last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// The only node that may apply it.
    pub node: NodeIdentity,
    /// Of the same counter as intents: no intent up to this serial is applied again.
    pub serial: Serial,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it stops being acceptable.
    pub not_after: Timestamp,
    /// Who asked for it and why, for the audit log.
    pub reason: String,
}

/// Why a document could not be signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// There is no key to sign with.
    #[error("no signing key was given")]
    NoKey,
    /// The document cannot be written as JSON.
    #[error("the document cannot be serialized")]
    Json(#[source] serde_json::Error),
    /// A credential in the document cannot be encrypted.
    #[error("a credential of an external exit cannot be encrypted")]
    Credential(#[source] CredentialError),
    /// The payload cannot be packed.
    #[error("the payload cannot be packed")]
    Pack(#[source] PayloadError),
}

/// Signs bytes of a kind with every key, in the order given.
///
/// # Errors
/// [`SignError::NoKey`].
pub fn sign_bytes(
    kind: PayloadType,
    payload: &[u8],
    keys: &[SigningKey],
) -> Result<DsseEnvelope, SignError> {
    if keys.is_empty() {
        return Err(SignError::NoKey);
    }
    let signed = pre_authentication_encoding(kind.media_type(), payload);
    let signatures = keys
        .iter()
        .map(|key| DsseSignature {
            keyid: KeyId::of(&key.verifying_key()),
            sig: STANDARD.encode(key.sign(&signed).to_bytes()),
        })
        .collect();
    Ok(DsseEnvelope {
        payload_type: kind.media_type().to_owned(),
        payload: STANDARD.encode(payload),
        signatures,
    })
}

/// Packs and signs a node's document.
///
/// # Errors
/// [`SignError`].
pub fn sign_intent(
    document: &NodeDocument,
    keys: &[SigningKey],
) -> Result<DsseEnvelope, SignError> {
    sign_packed(PayloadType::Intent, document, keys)
}

/// Packs and signs the cluster document.
///
/// # Errors
/// [`SignError`].
pub fn sign_cluster(
    document: &ClusterDocument,
    keys: &[SigningKey],
) -> Result<DsseEnvelope, SignError> {
    sign_packed(PayloadType::Cluster, document, keys)
}

fn sign_packed(
    kind: PayloadType,
    document: &impl Serialize,
    keys: &[SigningKey],
) -> Result<DsseEnvelope, SignError> {
    let json = serde_json::to_vec(document).map_err(SignError::Json)?;
    sign_bytes(kind, &pack(&json).map_err(SignError::Pack)?, keys)
}

/// Signs a release.
///
/// # Errors
/// [`SignError`].
pub fn sign_release(release: &Release, keys: &[SigningKey]) -> Result<DsseEnvelope, SignError> {
    sign_bytes(
        PayloadType::Release,
        &serde_json::to_vec(release).map_err(SignError::Json)?,
        keys,
    )
}

/// Signs a key set. The signing keys must be current ones, not only new ones.
///
/// # Errors
/// [`SignError`].
pub fn sign_key_set(
    document: &KeySetDocument,
    keys: &[SigningKey],
) -> Result<DsseEnvelope, SignError> {
    sign_bytes(
        PayloadType::KeySet,
        &serde_json::to_vec(document).map_err(SignError::Json)?,
        keys,
    )
}
