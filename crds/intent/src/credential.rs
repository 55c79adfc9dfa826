//! Credentials of external exits: encrypted by the operator to a key pair that one node has for this purpose alone (HPKE,
//! RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, mode base), and decrypted there.
//!
//! The context of an encryption names the node and the exit, so that a ciphertext that is copied into another document
//! opens nothing. docs/adr/0029-one-node-holds-an-external-exit.md has the argument.

use std::convert::Infallible;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{
    Deserializable as _, HpkeError, Kem, OpModeR, OpModeS, Serializable as _, single_shot_open,
    single_shot_seal_with_rng,
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::body::{NodeDocument, NodeIdentity, SealedCredential};
use crate::hex;
use crate::newtypes::{ExitName, NewtypeError, WgKey};

/// No other encryption to the key has this label.
const LABEL: &[u8] = b"postern.dev credential of an external exit, version 1";

/// The encapsulated key of X25519 (RFC 9180, section 7.1).
const ENCAPSULATED: usize = 32;

/// 32 secret bytes. `Debug` hides them, and they are wiped when they are dropped.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct SecretBytes([u8; 32]);

impl SecretBytes {
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the base64 that WireGuard's tools write.
    ///
    /// # Errors
    /// [`CredentialError::Key`], which does not repeat the text.
    pub fn from_base64(field: &'static str, text: &str) -> Result<Self, CredentialError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).unwrap_or_default());
        let bytes = bytes.as_slice().try_into();
        bytes.map(Self).map_err(|_| CredentialError::Key { field })
    }

    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// What a node needs to be the client of a WireGuard server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitCredential {
    pub private_key: SecretBytes,
    pub preshared_key: Option<SecretBytes>,
}

/// Why there is no credential.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// The field is not there.
    #[error("the Secret has no {field}")]
    Absent { field: &'static str },
    /// The field holds something else than a key.
    #[error("{field} is not the base64 of 32 bytes")]
    Key { field: &'static str },
    /// The public half is of low order.
    #[error("the private key has no usable public half")]
    Public(#[source] NewtypeError),
    /// It cannot be encrypted to the node.
    #[error("the credential cannot be encrypted")]
    Seal(#[source] HpkeError),
    /// There is no randomness for the encryption.
    #[error("no randomness for the encryption of the credential")]
    NoEntropy,
    /// No Secret has the credential any more.
    #[error("no Secret has the credential that the document names")]
    Unknown,
    /// It is for another key, node or exit, or was changed.
    #[error("the credential is not encrypted to this node's key for this exit")]
    Open(#[source] HpkeError),
    /// The text is no ciphertext of ours.
    #[error("the encrypted credential is no base64, or has another length")]
    Form,
}

impl ExitCredential {
    /// The public half of the private key.
    ///
    /// # Errors
    /// [`CredentialError::Public`].
    pub fn public_key(&self) -> Result<WgKey, CredentialError> {
        let point = MontgomeryPoint::mul_base_clamped(*self.private_key.expose());
        WgKey::from_bytes(point.to_bytes()).map_err(CredentialError::Public)
    }

    /// What tells two credentials apart without showing either. The private key has 256 random bits, so that nobody finds
    /// it by trying.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(LABEL);
        hash.update(self.private_key.expose());
        if let Some(key) = &self.preshared_key {
            hash.update(key.expose());
        }
        hex(&hash.finalize()[..8])
    }

    /// Encrypts it to a node. `entropy` is fresh randomness, used for nothing else.
    ///
    /// # Errors
    /// [`CredentialError::Seal`].
    pub fn seal(
        &self,
        recipient: &WgKey,
        node: &NodeIdentity,
        exit: &ExitName,
        entropy: &SecretBytes,
    ) -> Result<String, CredentialError> {
        type Key = <X25519HkdfSha256 as Kem>::PublicKey;
        let recipient = Key::from_bytes(recipient.bytes()).map_err(CredentialError::Seal)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(64));
        plain.extend_from_slice(self.private_key.expose());
        plain.extend(self.preshared_key.iter().flat_map(SecretBytes::expose));
        let (encapsulated, ciphertext) =
            single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &recipient,
                &context(node, exit),
                &plain,
                &[],
                &mut ExpandedEntropy::new(entropy),
            )
            .map_err(CredentialError::Seal)?;
        Ok(STANDARD.encode([&encapsulated.to_bytes()[..], &ciphertext].concat()))
    }

    /// Decrypts what [`ExitCredential::seal`] made.
    ///
    /// # Errors
    /// [`CredentialError::Form`] and [`CredentialError::Open`].
    pub fn open(
        sealed: &SealedCredential,
        private: &SecretBytes,
        node: &NodeIdentity,
        exit: &ExitName,
    ) -> Result<Self, CredentialError> {
        type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
        type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;
        let bytes = STANDARD.decode(&sealed.sealed);
        let bytes = bytes.map_err(|_| CredentialError::Form)?;
        let parts = bytes.split_at_checked(ENCAPSULATED);
        let (encapsulated, ciphertext) = parts.ok_or(CredentialError::Form)?;
        let private = Private::from_bytes(private.expose()).map_err(CredentialError::Open)?;
        let encapsulated = Encapsulated::from_bytes(encapsulated).map_err(CredentialError::Open)?;
        let plain = single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            &context(node, exit),
            ciphertext,
            &[],
        );
        let plain = Zeroizing::new(plain.map_err(CredentialError::Open)?);
        let key = |bytes: &[u8]| -> Result<SecretBytes, CredentialError> {
            let bytes = bytes.try_into().map_err(|_| CredentialError::Form)?;
            Ok(SecretBytes(bytes))
        };
        let (private_key, preshared) = plain.split_at_checked(32).ok_or(CredentialError::Form)?;
        Ok(Self {
            private_key: key(private_key)?,
            preshared_key: match preshared {
                [] => None,
                bytes => Some(key(bytes)?),
            },
        })
    }
}

/// The node and the exit that a ciphertext is for, each with its length, so that no other pair gives the same bytes.
fn context(node: &NodeIdentity, exit: &ExitName) -> Vec<u8> {
    let mut out = LABEL.to_vec();
    for part in [node.name.as_str(), node.uid.as_str(), exit.as_str()] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out
}

/// Encrypts the credentials of a document that are not encrypted yet. `known` finds a credential by its fingerprint,
/// `entropy` gives fresh randomness; none: there is none.
///
/// # Errors
/// [`CredentialError`] of the first one that cannot be encrypted.
pub fn seal_document<'a>(
    document: &mut NodeDocument,
    known: impl Fn(&str) -> Option<&'a ExitCredential>,
    mut entropy: impl FnMut() -> Option<SecretBytes>,
) -> Result<(), CredentialError> {
    for session in &mut document.external {
        let sealed = &mut session.credential;
        if sealed.sealed.is_empty() {
            let credential = known(&sealed.fingerprint).ok_or(CredentialError::Unknown)?;
            let entropy = entropy().ok_or(CredentialError::NoEntropy)?;
            sealed.sealed =
                credential.seal(&sealed.recipient, &document.node, &session.exit, &entropy)?;
        }
    }
    Ok(())
}

/// 32 random bytes, expanded by HKDF. The caller passes the randomness, because this crate reads no source of it.
struct ExpandedEntropy {
    derived: Hkdf<Sha256>,
    counter: u64,
}

impl ExpandedEntropy {
    fn new(entropy: &SecretBytes) -> Self {
        Self {
            derived: Hkdf::new(None, entropy.expose()),
            counter: 0,
        }
    }
}

impl TryRng for ExpandedEntropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let mut block = [0; 32];
            // HKDF expands up to 8160 bytes and never refuses 32.
            let _ = self.derived.expand(&self.counter.to_be_bytes(), &mut block);
            self.counter += 1;
            chunk.copy_from_slice(block.get(..chunk.len()).unwrap_or_default());
            block.zeroize();
        }
        Ok(())
    }
}

impl TryCryptoRng for ExpandedEntropy {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by it")]

    use super::*;

    fn node(name: &str) -> NodeIdentity {
        NodeIdentity {
            name: name.parse().unwrap(),
            uid: format!("uid-{name}").parse().unwrap(),
        }
    }

    fn credential(preshared: Option<u8>) -> ExitCredential {
        ExitCredential {
            private_key: SecretBytes::new([7; 32]),
            preshared_key: preshared.map(|byte| SecretBytes::new([byte; 32])),
        }
    }

    fn key(byte: u8) -> (SecretBytes, WgKey) {
        let private = SecretBytes::new([byte; 32]);
        let pair = ExitCredential {
            private_key: private.clone(),
            preshared_key: None,
        };
        (private, pair.public_key().unwrap())
    }

    fn sealed(credential: &ExitCredential, entropy: u8) -> SealedCredential {
        let (_, recipient) = key(1);
        let entropy = SecretBytes::new([entropy; 32]);
        SealedCredential {
            sealed: credential
                .seal(&recipient, &node("n1"), &"eu".parse().unwrap(), &entropy)
                .unwrap(),
            fingerprint: credential.fingerprint(),
            recipient,
        }
    }

    #[test]
    fn the_node_that_it_is_for_opens_it_with_and_without_a_preshared_key() {
        for preshared in [None, Some(9)] {
            let credential = credential(preshared);
            let exit = "eu".parse().unwrap();
            let opened =
                ExitCredential::open(&sealed(&credential, 5), &key(1).0, &node("n1"), &exit);
            assert_eq!(opened.unwrap(), credential);
        }
    }

    #[test]
    fn another_key_node_or_exit_opens_nothing() {
        let sealed = sealed(&credential(None), 5);
        let open = |private: u8, of: &str, exit: &str| {
            ExitCredential::open(&sealed, &key(private).0, &node(of), &exit.parse().unwrap())
        };
        assert!(open(1, "n1", "eu").is_ok());
        assert!(open(2, "n1", "eu").is_err());
        assert!(open(1, "n2", "eu").is_err());
        assert!(open(1, "n1", "us").is_err());
    }

    #[test]
    fn no_bit_of_it_can_be_changed() {
        let good = sealed(&credential(Some(9)), 5);
        let bytes = STANDARD.decode(&good.sealed).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            *changed.get_mut(position).unwrap() ^= 4;
            let changed = SealedCredential {
                sealed: STANDARD.encode(changed),
                ..good.clone()
            };
            let exit = "eu".parse().unwrap();
            let opened = ExitCredential::open(&changed, &key(1).0, &node("n1"), &exit);
            assert!(opened.is_err(), "byte {position}");
        }
    }

    #[test]
    fn two_encryptions_differ_and_their_fingerprints_do_not() {
        let (one, other) = (sealed(&credential(None), 5), sealed(&credential(None), 6));
        assert_ne!(one.sealed, other.sealed);
        assert_eq!(one.fingerprint, other.fingerprint);
        assert_ne!(one.fingerprint, credential(Some(9)).fingerprint());
    }

    #[test]
    fn its_debug_output_shows_no_key() {
        let text = format!("{:?}", credential(Some(9)));
        assert!(!text.contains('7') && !text.contains('9'), "{text}");
    }
}
