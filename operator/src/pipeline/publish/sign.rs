//! From a document to the spec of its object. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use postern_compile::publish::SignedDocument;
use postern_crds::NodeIntentSpec;
use postern_crds::node_intent::KeySet as ShownKeySet;
use postern_intent::TrustedKeys;
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::{SignError, sign_bytes, sign_key_set};

use crate::pipeline::shown_envelope::{from_shown, to_shown};
use crate::signer::{AnnouncedKeys, KeyRing};

/// The key set beside an envelope.
pub type KeySetToShow = Option<ShownKeySet>;

/// Signs a document.
///
/// # Errors
/// [`SignError`].
pub fn spec<D: SignedDocument>(
    document: &D,
    ring: &KeyRing,
    key_set: KeySetToShow,
) -> Result<NodeIntentSpec, SignError> {
    let envelope = document.sign(ring.signing())?;
    Ok(NodeIntentSpec {
        node_uid: document.node_uid().to_owned(),
        serial: document.serial().0,
        not_after: Some(Time(whole_seconds(document.not_after()))),
        envelope: Some(to_shown(&envelope)),
        key_set,
    })
}

/// The same document with other signatures and another key set; nothing if there is no document.
///
/// # Errors
/// [`SignError`].
pub fn resigned<D: SignedDocument>(
    old: &NodeIntentSpec,
    ring: &KeyRing,
    key_set: KeySetToShow,
) -> Result<Option<NodeIntentSpec>, SignError> {
    let Some(envelope) = old.envelope.as_ref().and_then(from_shown) else {
        return Ok(None);
    };
    let Ok(payload) = envelope.payload_bytes() else {
        return Ok(None);
    };
    let signed = sign_bytes(D::KIND, &payload, ring.signing())?;
    Ok(Some(NodeIntentSpec {
        envelope: Some(to_shown(&signed)),
        key_set,
        ..old.clone()
    }))
}

/// The document that announces a key set, signed by every key that signs so far.
///
/// # Errors
/// [`SignError`].
pub(crate) fn announce(set: &AnnouncedKeys, ring: &KeyRing) -> Result<ShownKeySet, SignError> {
    let pems = ring
        .public()
        .iter()
        .filter(|(id, _)| set.keys.contains(id))
        .map(|(_, pem)| pem.as_str());
    // The ring's own keys were judged when it was read.
    let keys = TrustedKeys::installed(pems)
        .map(|keys| keys.document().keys)
        .unwrap_or_default();
    let document = KeySetDocument {
        version: set.version,
        keys,
    };
    let envelope = sign_key_set(&document, ring.signing())?;
    Ok(ShownKeySet {
        version: set.version,
        envelope: to_shown(&envelope),
    })
}

/// `metadata`-like times have no fraction: what is read back is then what was written.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
