//! Keys as PEM: PKCS#8 for signing (RFC 8410), SubjectPublicKeyInfo for trust.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use postern_intent::{KeyId, TrustedKeys, keys};
use thiserror::Error;

/// Why keys cannot be used.
#[derive(Debug, Error)]
pub enum SigningKeyError {
    /// An entry is no private key.
    #[error("entry {entry:?} is not the PEM of an Ed25519 private key")]
    Private {
        entry: String,
        #[source]
        source: ed25519_dalek::pkcs8::Error,
    },
    /// An entry is no text.
    #[error("entry {entry:?} is not text")]
    Text {
        entry: String,
        #[source]
        source: std::str::Utf8Error,
    },
    /// A public half cannot be written.
    #[error("the public key cannot be encoded")]
    EncodePublic(#[source] ed25519_dalek::pkcs8::spki::Error),
    /// A private key cannot be written.
    #[error("the private key cannot be encoded")]
    EncodePrivate(#[source] ed25519_dalek::pkcs8::Error),
    /// A key cannot be trusted.
    #[error("a signing key cannot be trusted")]
    Trust(#[source] keys::PublicKeyError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

/// The keys that sign, with what others need to trust them.
#[derive(Clone)]
pub struct KeyRing {
    signing: Vec<SigningKey>,
    trust: TrustedKeys,
    public: BTreeMap<KeyId, String>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.public.keys()).finish()
    }
}

impl KeyRing {
    /// Reads the entries that end in `.pem`, in the order of their names.
    ///
    /// # Errors
    /// [`SigningKeyError`] for the first entry that is no key: a ring with a gap would sign less than was asked for.
    pub fn read<'a>(
        entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, SigningKeyError> {
        let mut signing = Vec::new();
        for (entry, bytes) in entries {
            if !entry.ends_with(".pem") {
                continue;
            }
            let pem = std::str::from_utf8(bytes).map_err(|source| SigningKeyError::Text {
                entry: entry.to_owned(),
                source,
            })?;
            let key =
                SigningKey::from_pkcs8_pem(pem).map_err(|source| SigningKeyError::Private {
                    entry: entry.to_owned(),
                    source,
                })?;
            signing.push(key);
        }
        Self::of(signing)
    }

    fn of(signing: Vec<SigningKey>) -> Result<Self, SigningKeyError> {
        let mut public = BTreeMap::new();
        for key in &signing {
            let pem = key
                .verifying_key()
                .to_public_key_pem(LineEnding::LF)
                .map_err(SigningKeyError::EncodePublic)?;
            public.insert(KeyId::of(&key.verifying_key()), pem);
        }
        let trust = TrustedKeys::installed(public.values().map(String::as_str))
            .map_err(SigningKeyError::Trust)?;
        Ok(Self {
            signing,
            trust,
            public,
        })
    }

    #[must_use]
    pub fn signing(&self) -> &[SigningKey] {
        &self.signing
    }

    /// Keys whose envelopes count as published.
    #[must_use]
    pub const fn trust(&self) -> &TrustedKeys {
        &self.trust
    }

    /// Public keys (PEM) by id.
    #[must_use]
    pub const fn public(&self) -> &BTreeMap<KeyId, String> {
        &self.public
    }

    /// The ring without some keys.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn without(
        &self,
        dropped: &std::collections::BTreeSet<KeyId>,
    ) -> Result<Self, SigningKeyError> {
        let kept = self
            .signing
            .iter()
            .filter(|key| !dropped.contains(&KeyId::of(&key.verifying_key())));
        Self::of(kept.cloned().collect())
    }
}

/// Makes a signing key; its PEM is version 1 of PKCS#8, which OpenSSL 3.0 can read.
///
/// # Errors
/// [`SigningKeyError::Random`] or [`SigningKeyError::EncodePrivate`].
pub(super) fn generate() -> Result<String, SigningKeyError> {
    let mut secret_key = [0; 32];
    getrandom::fill(&mut secret_key).map_err(SigningKeyError::Random)?;
    let pair = KeypairBytes {
        secret_key,
        public_key: None,
    };
    let pem = pair
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(SigningKeyError::EncodePrivate)?;
    Ok(pem.to_string())
}

#[cfg(test)]
mod tests {
    use super::{KeyRing, generate};

    #[test]
    fn every_pem_entry_is_a_key_and_other_entries_are_not() {
        let (one, two) = (generate().expect("a key"), generate().expect("a key"));
        let entries = [
            ("a.pem", one.as_bytes()),
            ("b.pem", two.as_bytes()),
            ("note", b"x".as_slice()),
        ];
        let ring = KeyRing::read(entries).expect("two keys");
        assert_eq!((ring.signing().len(), ring.public().len()), (2, 2));
        assert_eq!(ring.trust().ids().count(), 2);
        let first = ring.public().keys().next().cloned().into_iter().collect();
        assert_eq!(ring.without(&first).expect("one key").signing().len(), 1);
    }

    #[test]
    fn an_entry_that_is_no_key_refuses_the_whole_ring() {
        let one = generate().expect("a key");
        let entries = [("a.pem", one.as_bytes()), ("b.pem", b"no key".as_slice())];
        assert!(KeyRing::read(entries).is_err());
    }
}
