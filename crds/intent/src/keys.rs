//! Who may sign. Public keys are given at installation, pinned at first use, and changed by a [`TrustedKeys`] that a
//! current key signs, or by root on the node's socket.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::hex::hex;

/// The first 16 hex digits of the SHA-256 of a public key's 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The id of a key.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> Self {
        Self(hex(&Sha256::digest(key.as_bytes())[..8]))
    }

    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a public key was refused.
#[derive(Debug, Error)]
pub enum PublicKeyError {
    /// It is no PEM of an Ed25519 public key (RFC 8410).
    #[error("the text is not the PEM of an Ed25519 public key")]
    Pem(#[source] ed25519_dalek::pkcs8::spki::Error),
    /// It is no base64 of 32 bytes.
    #[error("the key set holds a key that is not the base64 of 32 bytes")]
    Encoding,
    /// It is a point of low order, for which signatures over anything can be made.
    #[error("the public key is weak")]
    Weak,
}

/// A versioned list of keys, as a signed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySetDocument {
    /// Grows with every change.
    pub version: u64,
    /// Base64 of each key's 32 bytes.
    pub keys: Vec<String>,
}

/// The keys that a node trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedKeys {
    version: u64,
    keys: BTreeMap<KeyId, VerifyingKey>,
}

impl TrustedKeys {
    /// The keys given at installation: version 0.
    ///
    /// # Errors
    /// [`PublicKeyError`] for the first key that cannot be used.
    pub fn installed<'a>(pems: impl IntoIterator<Item = &'a str>) -> Result<Self, PublicKeyError> {
        let mut keys = BTreeMap::new();
        for pem in pems {
            let key = VerifyingKey::from_public_key_pem(pem).map_err(PublicKeyError::Pem)?;
            insert(&mut keys, key)?;
        }
        Ok(Self { version: 0, keys })
    }

    /// The keys of a document.
    ///
    /// # Errors
    /// [`PublicKeyError`] for the first key that cannot be used.
    pub fn from_document(document: &KeySetDocument) -> Result<Self, PublicKeyError> {
        let mut keys = BTreeMap::new();
        for text in &document.keys {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| PublicKeyError::Encoding)?;
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| PublicKeyError::Encoding)?;
            insert(
                &mut keys,
                VerifyingKey::from_bytes(&bytes).map_err(|_| PublicKeyError::Encoding)?,
            )?;
        }
        Ok(Self {
            version: document.version,
            keys,
        })
    }

    /// The document that carries these keys, for the ledger and for signing.
    #[must_use]
    pub fn document(&self) -> KeySetDocument {
        KeySetDocument {
            version: self.version,
            keys: self
                .keys
                .values()
                .map(|key| STANDARD.encode(key.as_bytes()))
                .collect(),
        }
    }

    /// Which change of the keys this is.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The ids of all keys, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.keys()
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&VerifyingKey> {
        self.keys.get(id)
    }

    /// No key at all: nothing can be verified.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn insert(
    keys: &mut BTreeMap<KeyId, VerifyingKey>,
    key: VerifyingKey,
) -> Result<(), PublicKeyError> {
    // `VerifyingKey::from_bytes` accepts low-order points such as 32 zero bytes.
    if key.is_weak() {
        return Err(PublicKeyError::Weak);
    }
    keys.insert(KeyId::of(&key), key);
    Ok(())
}
