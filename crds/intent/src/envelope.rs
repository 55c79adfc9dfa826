//! DSSE, the Dead Simple Signing Envelope, version 1: a signature over the payload's type and its exact bytes, so
//! that no canonical JSON is needed.

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::keys::KeyId;

use crate::hex::hex;

/// What a payload may be. A signature over one kind never verifies as another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadType {
    /// The gzip of a [`NodeDocument`](crate::NodeDocument).
    Intent,
    /// The gzip of a [`ClusterDocument`](crate::ClusterDocument).
    Cluster,
    /// A [`Release`](crate::sign::Release).
    Release,
    /// A [`TrustedKeys`](crate::TrustedKeys).
    KeySet,
}

impl PayloadType {
    /// The media type as it is signed.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Intent => "application/vnd.postern.dev.intent.v1+json+gzip",
            Self::Cluster => "application/vnd.postern.dev.cluster.v1+json+gzip",
            Self::Release => "application/vnd.postern.dev.release.v1+json",
            Self::KeySet => "application/vnd.postern.dev.keyset.v1+json",
        }
    }
}

/// The envelope as it is published: JSON with a base64 payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DsseEnvelope {
    /// The media type of the payload.
    pub payload_type: String,
    /// Base64 of the signed bytes.
    pub payload: String,
    /// One signature by each signing key.
    pub signatures: Vec<DsseSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DsseSignature {
    /// Which key made it. A hint: verification tries trusted keys only.
    pub keyid: KeyId,
    /// Base64 of the 64 bytes of an Ed25519 signature (RFC 8032).
    pub sig: String,
}

/// The largest envelope that is read at all, in bytes. The compiler's budget is 700 KiB; the rest is room for
/// signatures of a second key and for spaces.
pub const ENVELOPE_LIMIT: u64 = 1024 * 1024;

/// The largest JSON that a payload may unpack to, in bytes.
pub const UNPACKED_LIMIT: u64 = 16 * 1024 * 1024;

/// Why a payload could not be read.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// The payload or a signature is no base64.
    #[error("the envelope holds invalid base64")]
    Base64(#[source] base64::DecodeError),
    /// The payload is no gzip.
    #[error("the payload cannot be unpacked")]
    Gzip(#[source] std::io::Error),
    /// It unpacks to more than [`UNPACKED_LIMIT`].
    #[error("the payload unpacks to more than {UNPACKED_LIMIT} bytes")]
    TooLarge,
}

/// The bytes that are signed: `DSSEv1 SP len(type) SP type SP len(payload) SP payload` (DSSE protocol, "PAE").
#[must_use]
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out
}

impl DsseEnvelope {
    /// The exact bytes that were signed.
    ///
    /// # Errors
    /// [`PayloadError::Base64`].
    pub fn payload_bytes(&self) -> Result<Vec<u8>, PayloadError> {
        STANDARD.decode(&self.payload).map_err(PayloadError::Base64)
    }

    /// SHA-256 of type and payload in hex: what "the same document" means. Signatures do not count, since Ed25519
    /// documents can be signed again by a second key.
    ///
    /// # Errors
    /// [`PayloadError::Base64`].
    pub fn digest(&self) -> Result<String, PayloadError> {
        let payload = self.payload_bytes()?;
        Ok(hex(&Sha256::digest(pre_authentication_encoding(
            &self.payload_type,
            &payload,
        ))))
    }
}

/// Packs JSON with gzip, header time 0, so that the same bytes always give the same bytes.
///
/// # Errors
/// [`PayloadError::Gzip`]; writing to memory does not fail in practice.
pub fn pack(json: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder.write_all(json).map_err(PayloadError::Gzip)?;
    encoder.finish().map_err(PayloadError::Gzip)
}

/// Unpacks a gzip of at most [`UNPACKED_LIMIT`] bytes of content.
///
/// # Errors
/// [`PayloadError::Gzip`] or [`PayloadError::TooLarge`].
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::new();
    GzDecoder::new(packed)
        .take(UNPACKED_LIMIT + 1)
        .read_to_end(&mut out)
        .map_err(PayloadError::Gzip)?;
    if out.len() as u64 > UNPACKED_LIMIT {
        Err(PayloadError::TooLarge)
    } else {
        Ok(out)
    }
}
