//! With which keys the documents of a run are signed, and the key set that they carry. Pure.

use std::cmp::Reverse;
use std::sync::Arc;

use postern_compile::Compilation;
use postern_compile::publish::{
    CredentialStore, DocumentSigner, PlannedDocuments, SignedDocument, plan_documents,
};
use postern_crds::NodeIntentSpec;
use postern_crds::node_intent::KeySet as ShownKeySet;
use postern_intent::credential::SecretBytes;
use postern_intent::sign::SignError;
use postern_intent::verify::verify_key_set;
use postern_intent::{NodeDocument, TrustedKeys};
use tracing::info_span;

use super::sign::{announce, resigned, spec};
use crate::metrics::{OperatorMetrics, gauge};
use crate::pipeline::error::PipelineError;
use crate::pipeline::gathered::GatheredRun;
use crate::pipeline::shown_envelope::from_shown;
use crate::signer::{AnnouncedKeys, KeyRing, Rotation, rotate};

/// The keys of this run.
struct IntentSigner {
    ring: Arc<KeyRing>,
    /// The key set that every intent carries from now on.
    shown: Option<ShownKeySet>,
    /// Credentials that are encrypted to nodes before the signature.
    credentials: CredentialStore,
}

impl DocumentSigner for IntentSigner {
    type Form = Arc<NodeIntentSpec>;

    fn stamp(&self, document: &mut NodeDocument) -> Result<(), SignError> {
        document.trace_id = postern_telemetry::trace_id();
        self.credentials.seal(document, || {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).ok()?;
            Some(SecretBytes::new(bytes))
        })
    }

    fn sign<D: SignedDocument>(&self, document: &D) -> Result<Self::Form, SignError> {
        spec(document, &self.ring, self.shown.clone()).map(Arc::new)
    }

    fn resign<D: SignedDocument>(
        &self,
        published: &Self::Form,
    ) -> Result<Option<Self::Form>, SignError> {
        if self.shown.is_none() || published.key_set == self.shown {
            return Ok(None);
        }
        let signed = resigned::<D>(published, &self.ring, self.shown.clone())?;
        Ok(signed.map(Arc::new))
    }
}

/// Plans and signs every document that this run writes.
pub(super) fn plan_all(
    round: &GatheredRun,
    metrics: &OperatorMetrics,
    compilation: &Compilation,
) -> Result<PlannedDocuments<Arc<NodeIntentSpec>>, PipelineError> {
    let _span = info_span!("sign").entered();
    let signer = signer(round, metrics)?;
    plan_documents(compilation, &round.published, &signer).map_err(PipelineError::Sign)
}

fn signer(round: &GatheredRun, metrics: &OperatorMetrics) -> Result<IntentSigner, PipelineError> {
    let there = newest_key_set(round);
    let ring = &round.signing.ring;
    let secret = ring.public().keys().cloned().collect();
    let announced = there
        .as_ref()
        .map(|(_, announced)| announced.clone())
        .unwrap_or_default();
    let trust = &round.gathered.inputs.trust;
    let Rotation {
        announce: next,
        dropped,
        waiting,
    } = rotate(&secret, &round.signing.retiring, &announced, trust);
    if !waiting.is_empty() {
        tracing::warn!(nodes = ?waiting, "a retiring key waits for nodes that do not trust the others yet");
    }
    let kept = ring.without(&dropped).map_err(PipelineError::Key)?;
    let shown = match &next {
        // Signed by every key so far: a node trusts one of them.
        Some(set) => Some(announce(set, ring).map_err(PipelineError::Announce)?),
        None => there.map(|(shown, _)| shown),
    };
    metrics.keys_waiting.set(gauge(waiting.len()));
    Ok(IntentSigner {
        ring: if dropped.is_empty() {
            Arc::clone(ring)
        } else {
            Arc::new(kept)
        },
        shown,
        credentials: round.gathered.inputs.credentials.clone(),
    })
}

/// The newest key set in an intent of ours that a key of ours signed: the intent's own signature does
/// not cover it.
fn newest_key_set(round: &GatheredRun) -> Option<(ShownKeySet, AnnouncedKeys)> {
    let nodes = round.published.nodes.values();
    let sets = nodes.filter_map(|state| state.published()?.form.key_set.as_ref());
    let mut sets: Vec<&ShownKeySet> = sets.collect();
    sets.sort_by_key(|set| Reverse(set.version));
    sets.dedup();
    sets.into_iter()
        .find_map(|set| Some((set.clone(), announced(set, round.signing.ring.trust())?)))
}

fn announced(set: &ShownKeySet, trust: &TrustedKeys) -> Option<AnnouncedKeys> {
    let envelope = from_shown(&set.envelope)?;
    let verified = verify_key_set(&envelope, trust).ok()?;
    let keys = verified.get();
    (keys.version() == set.version).then(|| AnnouncedKeys {
        version: set.version,
        keys: keys.ids().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use postern_intent::NodeDocument;

    use super::{
        CredentialStore, DocumentSigner as _, IntentSigner, ShownKeySet, announce, announced, spec,
    };
    use crate::signer::{AnnouncedKeys, KeyRing};

    fn ring(seed: u8) -> KeyRing {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let pem = key.to_pkcs8_pem(LineEnding::LF).expect("a PEM");
        KeyRing::read([("key.pem", pem.as_bytes())]).expect("a ring")
    }

    fn set(version: u64, ring: &KeyRing) -> ShownKeySet {
        let keys = ring.public().keys().cloned().collect();
        announce(&AnnouncedKeys { version, keys }, ring).expect("a key set")
    }

    fn document() -> NodeDocument {
        let document = serde_json::json!({
            "version": postern_intent::body::FORMAT_VERSION,
            "node": { "name": "n1", "uid": "u1" },
            "serial": 5,
            "issuedAt": "2026-01-01T00:00:00Z",
            "notAfter": "2026-01-02T00:00:00Z",
            "clusterSerial": 1, "localPodRanges": [], "localAddresses": [],
            "tunnels": [],
            "routes": [],
            "nat": [],
            "firewall": [],
            "pods": [],
            "allocations": [],
        });
        serde_json::from_value(document).expect("a document")
    }

    /// The key set that an intent which says nothing new is written with, if it is written at all.
    fn written(has: Option<ShownKeySet>, shown: Option<ShownKeySet>) -> Option<ShownKeySet> {
        let (ring, document) = (Arc::new(ring(1)), document());
        let published = Arc::new(spec(&document, &ring, has).expect("a spec"));
        let signer = IntentSigner {
            ring,
            shown,
            credentials: CredentialStore::default(),
        };
        let signed = signer.resign::<NodeDocument>(&published);
        signed
            .expect("a signature")
            .map(|spec| spec.key_set.clone().expect("a key set"))
    }

    #[test]
    fn an_intent_that_missed_the_key_set_gets_it_in_whichever_run_finds_that_out() {
        let ring = ring(1);
        let (old, new) = (set(1, &ring), set(2, &ring));
        assert_eq!(written(None, Some(new.clone())), Some(new.clone()));
        assert_eq!(written(Some(old), Some(new.clone())), Some(new.clone()));
        assert_eq!(written(Some(new.clone()), Some(new)), None);
    }

    #[test]
    fn no_intent_is_written_for_keys_while_none_were_announced() {
        assert_eq!(written(None, None), None);
        assert_eq!(written(Some(set(1, &ring(1))), None), None);
    }

    #[test]
    fn a_key_set_that_no_key_of_ours_signed_is_not_spread() {
        let ours = ring(1);
        assert!(announced(&set(2, &ours), ours.trust()).is_some());
        assert_eq!(announced(&set(9, &ring(7)), ours.trust()), None);
        let raised = ShownKeySet {
            version: 9,
            ..set(2, &ours)
        };
        assert_eq!(announced(&raised, ours.trust()), None);
    }
}
