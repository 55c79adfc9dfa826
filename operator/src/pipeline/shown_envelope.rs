//! An envelope as a NodeIntent shows it, and as it is verified. Pure.

use postern_intent::DsseEnvelope;

/// The envelope as it is verified.
pub(super) fn from_shown(shown: &postern_crds::node_intent::Envelope) -> Option<DsseEnvelope> {
    let value = serde_json::to_value(shown).ok()?;
    serde_json::from_value(value).ok()
}

/// The envelope as it is shown.
pub(super) fn to_shown(envelope: &DsseEnvelope) -> postern_crds::node_intent::Envelope {
    postern_crds::node_intent::Envelope {
        payload_type: envelope.payload_type.clone(),
        payload: envelope.payload.clone(),
        signatures: envelope
            .signatures
            .iter()
            .map(|signature| postern_crds::node_intent::Signature {
                keyid: signature.keyid.to_string(),
                sig: signature.sig.clone(),
            })
            .collect(),
    }
}
