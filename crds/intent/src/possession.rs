//! A node proves that it holds the private half of each key that it reports; a key without a proof could be one
//! that was copied from another node's report. docs/adr/0020-keys-are-proved.md has the argument.
//!
//! Both ends compute the same secret by X25519: the node from its private key and a signing key that it trusts, the
//! operator from that signing key and the reported key. The proof is an HMAC under it over the node's name and UID, so
//! that a proof that is copied into another node's report proves nothing.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::traits::IsIdentity as _;
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use thiserror::Error;

use crate::keys::{KeyId, TrustedKeys};
use crate::newtypes::{NodeName, NodeUid, WgKey};

/// What the key of a claim is for. A proof for one purpose proves nothing for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPurpose {
    /// The node's tunnels.
    WireGuard,
    /// Credentials of external exits are encrypted to it.
    Credentials,
}

impl KeyPurpose {
    /// No other use of the secret has this label.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::WireGuard => b"postern.dev possession of a WireGuard key, version 1",
            Self::Credentials => b"postern.dev possession of a key for credentials, version 1",
        }
    }
}

/// The claim that a proof is about: this key is the key of this node.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub node: &'a NodeName,
    /// The UID of its Node object.
    pub uid: &'a NodeUid,
    /// The public key that it reports.
    pub key: &'a WgKey,
    pub purpose: KeyPurpose,
}

/// The proof for one signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof([u8; 32]);

/// Why a text is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a proof is the base64 of 32 bytes")]
pub struct ProofError;

impl FromStr for Proof {
    type Err = ProofError;
    fn from_str(text: &str) -> Result<Self, ProofError> {
        let bytes = STANDARD.decode(text).map_err(|_| ProofError)?;
        bytes.try_into().map(Self).map_err(|_| ProofError)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// What the node does: a proof for every key that it trusts, by the key's id. `private` belongs to the claim's key.
#[must_use]
pub fn prove(private: &[u8; 32], trusted: &TrustedKeys, claim: &Claim<'_>) -> Vec<(KeyId, Proof)> {
    let proofs = trusted.ids().filter_map(|id| {
        let operator = trusted.get(id)?.to_montgomery();
        let secret = operator.mul_clamped(*private);
        let mac = mac(secret, operator, claim)?;
        Some((id.clone(), Proof(mac.finalize().into_bytes().into())))
    });
    proofs.collect()
}

/// What the operator does: is one of the proofs good under one of its signing keys? The ids are hints.
pub fn is_proved<'a>(
    signing: &[SigningKey],
    claim: &Claim<'_>,
    proofs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> bool {
    let proofs = proofs.into_iter();
    let proofs: Vec<(&str, Proof)> = proofs
        .filter_map(|(id, text)| Some((id, text.parse().ok()?)))
        .collect();
    // A report may have many proofs for one key, and costs one multiplication for it all the same.
    signing.iter().any(|key| {
        let id = KeyId::of(&key.verifying_key());
        let named = || proofs.iter().filter(|(said, _)| *said == id.as_str());
        named().next().is_some()
            && expected(key, claim)
                .is_some_and(|mac| named().any(|(_, it)| mac.clone().verify_slice(&it.0).is_ok()))
    })
}

/// What a good proof of the claim to this key is.
fn expected(key: &SigningKey, claim: &Claim<'_>) -> Option<Hmac<Sha256>> {
    let node = MontgomeryPoint(*claim.key.bytes());
    let secret = node.mul_clamped(key.to_scalar_bytes());
    mac(secret, key.verifying_key().to_montgomery(), claim)
}

/// The HMAC before its end; none where the secret is a constant that everybody knows (RFC 7748, section 6.1).
fn mac(
    secret: MontgomeryPoint,
    operator: MontgomeryPoint,
    claim: &Claim<'_>,
) -> Option<Hmac<Sha256>> {
    if secret.is_identity() {
        return None;
    }
    let parts = [
        claim.purpose.label(),
        operator.as_bytes(),
        claim.key.bytes(),
    ];
    let mut key = [0; 32];
    let derived = Hkdf::<Sha256>::new(None, secret.as_bytes());
    derived.expand_multi_info(&parts, &mut key).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    for part in [claim.node.as_str(), claim.uid.as_str()] {
        // With the length, so that no other name and UID give the same bytes.
        mac.update(&u64::try_from(part.len()).ok()?.to_be_bytes());
        mac.update(part.as_bytes());
    }
    Some(mac)
}
