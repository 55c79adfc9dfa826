//! What the agent does: the signature first, then the document, each refusal with a reason of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use crate::body::{Body, ClusterDocument, NodeDocument, NodeIdentity};
use crate::envelope::{
    DsseEnvelope, ENVELOPE_LIMIT, PayloadError, PayloadType, pre_authentication_encoding, unpack,
};
use crate::keys::{KeySetDocument, TrustedKeys};
use crate::newtypes::Serial;
use crate::published::{joinable, parse, parse_document, verify_name};
use crate::sign::Release;

pub use crate::refusal::{DocumentRefusal, RefusalRecord};

/// How far ahead of now `issuedAt` may lie: clocks of operator and node differ.
pub const SKEW_ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

/// What the node knows when it verifies.
#[derive(Debug, Clone)]
pub struct VerifyContext<'a> {
    /// Who this node is, from its token's claim.
    pub node: &'a NodeIdentity,
    /// The keys that it trusts.
    pub keys: &'a TrustedKeys,
    /// The highest of the wall clock and the highest time that the ledger has seen.
    pub now: Timestamp,
    /// The last document that was accepted, or nothing on a new ledger.
    pub last: Option<Accepted<'a>>,
}

/// The last accepted document.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    pub serial: Serial,
    pub digest: &'a str,
}

/// A document whose signature, addressee, time and serial were checked. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    document: T,
    digest: String,
}

impl<T> Verified<T> {
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.document
    }

    /// SHA-256 of what was signed, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

/// Parses an envelope.
///
/// # Errors
/// [`DocumentRefusal::Oversized`], [`DocumentRefusal::Malformed`].
pub fn parse_envelope(json: &[u8]) -> Result<DsseEnvelope, DocumentRefusal> {
    if json.len() as u64 > ENVELOPE_LIMIT {
        return Err(DocumentRefusal::Oversized);
    }
    serde_json::from_slice(json).map_err(DocumentRefusal::Malformed)
}

/// Verifies a node's document.
///
/// # Errors
/// Every [`DocumentRefusal`] but those of key sets and of [`join`].
pub fn verify_intent(
    envelope: &DsseEnvelope,
    context: &VerifyContext<'_>,
) -> Result<Verified<NodeDocument>, DocumentRefusal> {
    let document: NodeDocument = open(envelope, PayloadType::Intent, context.keys)?;
    document.check().map_err(DocumentRefusal::Inconsistent)?;
    let digest = envelope.digest().map_err(DocumentRefusal::Payload)?;
    verify_addressee(&document.node, context.node)?;
    let stamp = DocumentHeader {
        serial: document.serial,
        issued_at: document.issued_at,
        not_after: document.not_after,
        digest: &digest,
    };
    stamp.verify(context.now, context.last)?;
    Ok(Verified { document, digest })
}

/// Verifies a cluster document, which is for every node: by the trusted keys, at this time, after the last one that was
/// accepted.
///
/// # Errors
/// Every [`DocumentRefusal`] but those of addressees, key sets and of [`join`].
pub fn verify_cluster(
    envelope: &DsseEnvelope,
    keys: &TrustedKeys,
    now: Timestamp,
    last: Option<Accepted<'_>>,
) -> Result<Verified<ClusterDocument>, DocumentRefusal> {
    let document: ClusterDocument = open(envelope, PayloadType::Cluster, keys)?;
    document.check().map_err(DocumentRefusal::Inconsistent)?;
    let digest = envelope.digest().map_err(DocumentRefusal::Payload)?;
    let stamp = DocumentHeader {
        serial: document.serial,
        issued_at: document.issued_at,
        not_after: document.not_after,
        digest: &digest,
    };
    stamp.verify(now, last)?;
    Ok(Verified { document, digest })
}

/// Verifies an intent that the operator itself published, as of when it was issued and for the node that it names: whether it
/// is in force is not the question.
///
/// # Errors
/// As [`verify_intent`].
pub fn verify_published_intent(
    envelope: &DsseEnvelope,
    keys: &TrustedKeys,
) -> Result<Verified<NodeDocument>, DocumentRefusal> {
    let unverified: NodeDocument = unverified(envelope)?;
    let context = VerifyContext {
        node: &unverified.node,
        keys,
        now: unverified.issued_at,
        last: None,
    };
    verify_intent(envelope, &context)
}

/// The same for the cluster document.
///
/// # Errors
/// As [`verify_cluster`].
pub fn verify_published_cluster(
    envelope: &DsseEnvelope,
    keys: &TrustedKeys,
) -> Result<Verified<ClusterDocument>, DocumentRefusal> {
    let unverified: ClusterDocument = unverified(envelope)?;
    verify_cluster(envelope, keys, unverified.issued_at, None)
}

fn unverified<T: DeserializeOwned>(envelope: &DsseEnvelope) -> Result<T, DocumentRefusal> {
    let packed = envelope.payload_bytes().map_err(DocumentRefusal::Payload)?;
    parse(&unpack(&packed).map_err(DocumentRefusal::Payload)?)
}

/// Joins a node's document with the cluster document that the node has. The digest is the node's document's.
///
/// # Errors
/// [`DocumentRefusal::ClusterAwaited`], [`DocumentRefusal::FormerLineage`].
pub fn join(
    node: &Verified<NodeDocument>,
    cluster: Option<&Verified<ClusterDocument>>,
) -> Result<Verified<Body>, DocumentRefusal> {
    let cluster = cluster.map(Verified::get);
    let cluster = joinable(&node.document, cluster)?;
    Ok(Verified {
        document: Body::of(node.document.clone(), cluster.clone()),
        digest: node.digest.clone(),
    })
}

fn open<T: DeserializeOwned>(
    envelope: &DsseEnvelope,
    kind: PayloadType,
    keys: &TrustedKeys,
) -> Result<T, DocumentRefusal> {
    let packed = verify_signature(envelope, kind, keys)?;
    let json = unpack(&packed).map_err(|error| match error {
        PayloadError::TooLarge => DocumentRefusal::TooLarge,
        other => DocumentRefusal::Payload(other),
    })?;
    parse_document(&json)
}

/// Verifies a release.
///
/// # Errors
/// Every [`DocumentRefusal`] but those of key sets.
pub fn verify_release(
    envelope: &DsseEnvelope,
    context: &VerifyContext<'_>,
) -> Result<Verified<Release>, DocumentRefusal> {
    let json = verify_signature(envelope, PayloadType::Release, context.keys)?;
    let document: Release = parse(&json)?;
    let digest = envelope.digest().map_err(DocumentRefusal::Payload)?;
    verify_addressee(&document.node, context.node)?;
    let stamp = DocumentHeader {
        serial: document.serial,
        issued_at: document.issued_at,
        not_after: document.not_after,
        digest: &digest,
    };
    stamp.verify(context.now, context.last)?;
    Ok(Verified { document, digest })
}

/// Verifies a key set: signed by a current key and newer than the pinned one.
///
/// # Errors
/// [`DocumentRefusal`].
pub fn verify_key_set(
    envelope: &DsseEnvelope,
    pinned: &TrustedKeys,
) -> Result<Verified<TrustedKeys>, DocumentRefusal> {
    let json = verify_signature(envelope, PayloadType::KeySet, pinned)?;
    let document: KeySetDocument = parse(&json)?;
    if document.version <= pinned.version() {
        return Err(DocumentRefusal::KeySetVersion {
            found: document.version,
            pinned: pinned.version(),
        });
    }
    let keys = TrustedKeys::from_document(&document).map_err(DocumentRefusal::KeySet)?;
    if keys.is_empty() {
        return Err(DocumentRefusal::EmptyKeySet);
    }
    Ok(Verified {
        document: keys,
        digest: envelope.digest().map_err(DocumentRefusal::Payload)?,
    })
}

fn verify_signature(
    envelope: &DsseEnvelope,
    kind: PayloadType,
    keys: &TrustedKeys,
) -> Result<Vec<u8>, DocumentRefusal> {
    if envelope.payload_type != kind.media_type() {
        return Err(DocumentRefusal::PayloadType {
            found: envelope.payload_type.clone(),
            expected: kind.media_type(),
        });
    }
    let payload = envelope.payload_bytes().map_err(DocumentRefusal::Payload)?;
    let signed = pre_authentication_encoding(&envelope.payload_type, &payload);
    let mut named_a_trusted_key = KeyMatch::None;
    for signature in &envelope.signatures {
        let Some(key) = keys.get(&signature.keyid) else {
            continue;
        };
        named_a_trusted_key = KeyMatch::Named;
        let Ok(bytes) = STANDARD.decode(&signature.sig) else {
            continue;
        };
        let Ok(bytes) = <[u8; 64]>::try_from(bytes) else {
            continue;
        };
        if key
            .verify_strict(&signed, &ed25519_dalek::Signature::from_bytes(&bytes))
            .is_ok()
        {
            return Ok(payload);
        }
    }
    Err(match named_a_trusted_key {
        KeyMatch::Named => DocumentRefusal::BadSignature,
        KeyMatch::None => DocumentRefusal::UnknownKey {
            found: envelope
                .signatures
                .iter()
                .map(|signature| signature.keyid.to_string())
                .collect(),
        },
    })
}

enum KeyMatch {
    None,
    Named,
}

fn verify_addressee(found: &NodeIdentity, own: &NodeIdentity) -> Result<(), DocumentRefusal> {
    verify_name(found, &own.name)?;
    if found.uid != own.uid {
        return Err(DocumentRefusal::WrongNodeUid {
            found: found.uid.to_string(),
            own: own.uid.to_string(),
        });
    }
    Ok(())
}

/// What intents, cluster documents and releases have in common.
struct DocumentHeader<'a> {
    serial: Serial,
    issued_at: Timestamp,
    not_after: Timestamp,
    digest: &'a str,
}

impl DocumentHeader<'_> {
    fn verify(&self, now: Timestamp, last: Option<Accepted<'_>>) -> Result<(), DocumentRefusal> {
        if self.issued_at.duration_since(now) > SKEW_ALLOWANCE {
            return Err(DocumentRefusal::FromTheFuture {
                issued_at: self.issued_at,
                now,
            });
        }
        if let Some(last) = &last {
            if self.serial < last.serial {
                return Err(DocumentRefusal::Replayed {
                    found: self.serial,
                    last: last.serial,
                });
            }
            if self.serial == last.serial && self.digest != last.digest {
                return Err(DocumentRefusal::Equivocation {
                    serial: self.serial,
                    last: last.digest.to_owned(),
                    found: self.digest.to_owned(),
                });
            }
        }
        if self.not_after <= now {
            return Err(DocumentRefusal::Expired {
                not_after: self.not_after,
                now,
            });
        }
        Ok(())
    }
}
