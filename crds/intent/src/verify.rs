//! What the agent does: the signature first, then the document, each refusal with a reason of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use crate::body::{Body, ClusterDocument, NodeDocument, NodeIdentity};
use crate::envelope::{
    ENVELOPE_LIMIT, Envelope, PayloadError, PayloadType, pre_authentication_encoding, unpack,
};
use crate::keys::{KeySet, KeySetDocument};
use crate::newtypes::Serial;
use crate::published::{joinable, parse, parse_document, verify_name};
use crate::sign::Release;

pub use crate::refusal::{Refusal, RefusalRecord};

/// How far ahead of now `issuedAt` may lie: clocks of operator and node differ.
pub const SKEW_ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

/// What the node knows when it verifies.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Who this node is, from its token's claim.
    pub node: &'a NodeIdentity,
    /// The keys that it trusts.
    pub keys: &'a KeySet,
    /// The highest of the wall clock and the highest time that the ledger has seen.
    pub now: Timestamp,
    /// The last document that was accepted, or nothing on a new ledger.
    pub last: Option<Accepted<'a>>,
}

/// The last accepted document.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    /// Its serial.
    pub serial: Serial,
    /// Its digest.
    pub digest: &'a str,
}

/// A document whose signature, addressee, time and serial were checked. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    document: T,
    digest: String,
}

impl<T> Verified<T> {
    /// The document.
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
/// [`Refusal::Oversized`], [`Refusal::Malformed`].
pub fn parse_envelope(json: &[u8]) -> Result<Envelope, Refusal> {
    if json.len() as u64 > ENVELOPE_LIMIT {
        return Err(Refusal::Oversized);
    }
    serde_json::from_slice(json).map_err(Refusal::Malformed)
}

/// Verifies a node's document.
///
/// # Errors
/// Every [`Refusal`] but those of key sets and of [`join`].
pub fn verify_intent(
    envelope: &Envelope,
    context: &Context<'_>,
) -> Result<Verified<NodeDocument>, Refusal> {
    let document: NodeDocument = open(envelope, PayloadType::Intent, context.keys)?;
    document.check().map_err(Refusal::Inconsistent)?;
    let digest = envelope.digest().map_err(Refusal::Payload)?;
    verify_addressee(&document.node, context.node)?;
    let stamp = Stamp {
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
/// Every [`Refusal`] but those of addressees, key sets and of [`join`].
pub fn verify_cluster(
    envelope: &Envelope,
    keys: &KeySet,
    now: Timestamp,
    last: Option<Accepted<'_>>,
) -> Result<Verified<ClusterDocument>, Refusal> {
    let document: ClusterDocument = open(envelope, PayloadType::Cluster, keys)?;
    document.check().map_err(Refusal::Inconsistent)?;
    let digest = envelope.digest().map_err(Refusal::Payload)?;
    let stamp = Stamp {
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
    envelope: &Envelope,
    keys: &KeySet,
) -> Result<Verified<NodeDocument>, Refusal> {
    let unverified: NodeDocument = unverified(envelope)?;
    let context = Context {
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
    envelope: &Envelope,
    keys: &KeySet,
) -> Result<Verified<ClusterDocument>, Refusal> {
    let unverified: ClusterDocument = unverified(envelope)?;
    verify_cluster(envelope, keys, unverified.issued_at, None)
}

fn unverified<T: DeserializeOwned>(envelope: &Envelope) -> Result<T, Refusal> {
    let packed = envelope.payload_bytes().map_err(Refusal::Payload)?;
    parse(&unpack(&packed).map_err(Refusal::Payload)?)
}

/// Joins a node's document with the cluster document that the node has. The digest is the node's document's.
///
/// # Errors
/// [`Refusal::ClusterAwaited`], [`Refusal::FormerLineage`].
pub fn join(
    node: &Verified<NodeDocument>,
    cluster: Option<&Verified<ClusterDocument>>,
) -> Result<Verified<Body>, Refusal> {
    let cluster = cluster.map(Verified::get);
    let cluster = joinable(&node.document, cluster)?;
    Ok(Verified {
        document: Body::of(node.document.clone(), cluster.clone()),
        digest: node.digest.clone(),
    })
}

fn open<T: DeserializeOwned>(
    envelope: &Envelope,
    kind: PayloadType,
    keys: &KeySet,
) -> Result<T, Refusal> {
    let packed = verify_signature(envelope, kind, keys)?;
    let json = unpack(&packed).map_err(|error| match error {
        PayloadError::TooLarge => Refusal::TooLarge,
        other => Refusal::Payload(other),
    })?;
    parse_document(&json)
}

/// Verifies a release.
///
/// # Errors
/// Every [`Refusal`] but those of key sets.
pub fn verify_release(
    envelope: &Envelope,
    context: &Context<'_>,
) -> Result<Verified<Release>, Refusal> {
    let json = verify_signature(envelope, PayloadType::Release, context.keys)?;
    let document: Release = parse(&json)?;
    let digest = envelope.digest().map_err(Refusal::Payload)?;
    verify_addressee(&document.node, context.node)?;
    let stamp = Stamp {
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
/// [`Refusal`].
pub fn verify_key_set(envelope: &Envelope, pinned: &KeySet) -> Result<Verified<KeySet>, Refusal> {
    let json = verify_signature(envelope, PayloadType::KeySet, pinned)?;
    let document: KeySetDocument = parse(&json)?;
    if document.version <= pinned.version() {
        return Err(Refusal::KeySetVersion {
            found: document.version,
            pinned: pinned.version(),
        });
    }
    let keys = KeySet::from_document(&document).map_err(Refusal::KeySet)?;
    if keys.is_empty() {
        return Err(Refusal::EmptyKeySet);
    }
    Ok(Verified {
        document: keys,
        digest: envelope.digest().map_err(Refusal::Payload)?,
    })
}

fn verify_signature(
    envelope: &Envelope,
    kind: PayloadType,
    keys: &KeySet,
) -> Result<Vec<u8>, Refusal> {
    if envelope.payload_type != kind.media_type() {
        return Err(Refusal::PayloadType {
            found: envelope.payload_type.clone(),
            expected: kind.media_type(),
        });
    }
    let payload = envelope.payload_bytes().map_err(Refusal::Payload)?;
    let signed = pre_authentication_encoding(&envelope.payload_type, &payload);
    let mut named_a_trusted_key = Trust::None;
    for signature in &envelope.signatures {
        let Some(key) = keys.get(&signature.keyid) else {
            continue;
        };
        named_a_trusted_key = Trust::Named;
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
        Trust::Named => Refusal::BadSignature,
        Trust::None => Refusal::UnknownKey {
            found: envelope
                .signatures
                .iter()
                .map(|signature| signature.keyid.to_string())
                .collect(),
        },
    })
}

enum Trust {
    None,
    Named,
}

fn verify_addressee(found: &NodeIdentity, own: &NodeIdentity) -> Result<(), Refusal> {
    verify_name(found, &own.name)?;
    if found.uid != own.uid {
        return Err(Refusal::WrongNodeUid {
            found: found.uid.to_string(),
            own: own.uid.to_string(),
        });
    }
    Ok(())
}

/// What intents, cluster documents and releases have in common.
struct Stamp<'a> {
    serial: Serial,
    issued_at: Timestamp,
    not_after: Timestamp,
    digest: &'a str,
}

impl Stamp<'_> {
    fn verify(&self, now: Timestamp, last: Option<Accepted<'_>>) -> Result<(), Refusal> {
        if self.issued_at.duration_since(now) > SKEW_ALLOWANCE {
            return Err(Refusal::FromTheFuture {
                issued_at: self.issued_at,
                now,
            });
        }
        if let Some(last) = &last {
            if self.serial < last.serial {
                return Err(Refusal::Replayed {
                    found: self.serial,
                    last: last.serial,
                });
            }
            if self.serial == last.serial && self.digest != last.digest {
                return Err(Refusal::Equivocation {
                    serial: self.serial,
                    last: last.digest.to_owned(),
                    found: self.digest.to_owned(),
                });
            }
        }
        if self.not_after <= now {
            return Err(Refusal::Expired {
                not_after: self.not_after,
                now,
            });
        }
        Ok(())
    }
}
