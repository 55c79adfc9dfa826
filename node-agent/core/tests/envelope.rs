//! Envelopes that no operator publishes, and payloads that a key which is trusted signs all the same.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use postern_host_testing::fixture::{OwnedInputs, client, gateway};
use postern_host_testing::fuzz::{Corpus, InputForm};
use postern_intent::envelope::{PayloadType, pack, unpack};
use postern_intent::sign::{sign_bytes, sign_cluster, sign_intent};
use postern_intent::verify::{VerifyContext, join, parse_envelope, verify_cluster, verify_intent};
use postern_intent::{Body, DsseEnvelope, TrustedKeys};
use postern_plan::Desired;

fn signer() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn keys() -> TrustedKeys {
    let pem = signer().verifying_key().to_public_key_pem(LineEnding::LF);
    TrustedKeys::installed([pem.unwrap().as_str()]).unwrap()
}

/// The two documents of a body, signed.
fn envelopes(body: &Body) -> [DsseEnvelope; 2] {
    let (intent, cluster) = body.clone().documents();
    [
        sign_intent(&intent, &[signer()]).unwrap(),
        sign_cluster(&cluster, &[signer()]).unwrap(),
    ]
}

#[test]
fn no_change_of_an_envelope_breaks_the_verification_or_makes_another_document_of_it() {
    let body = client();
    let keys = keys();
    let (wanted, _) = body.clone().documents();
    let bodies = [client(), gateway(&[])];
    let files = bodies
        .iter()
        .flat_map(envelopes)
        .map(|one| serde_json::to_vec(&one).unwrap());
    let files: Vec<Vec<u8>> = files.collect();
    let signed = bodies.clone().map(|body| body.documents().0);
    Corpus::of(files).feed(InputForm::Json, |file| {
        let Ok(envelope) = parse_envelope(file) else {
            return;
        };
        let context = VerifyContext {
            node: &wanted.node,
            keys: &keys,
            now: body.issued_at,
            last: None,
        };
        if let Ok(verified) = verify_intent(&envelope, &context) {
            let known = signed.contains(verified.get());
            assert!(known, "another document was accepted");
        }
        drop(verify_cluster(&envelope, &keys, body.issued_at, None));
    });
}

#[test]
fn no_payload_that_a_trusted_key_signs_breaks_the_agent_or_its_plan() {
    let body = client();
    let keys = keys();
    let (wanted, _) = body.clone().documents();
    let [intent, cluster] = envelopes(&body);
    let payload = unpack(&intent.payload_bytes().unwrap()).unwrap();
    let cluster = verify_cluster(&cluster, &keys, body.issued_at, None).unwrap();
    let mut joined = 0_u32;
    Corpus::of(vec![payload]).feed(InputForm::Json, |payload| {
        let packed = pack(payload).unwrap();
        let envelope = sign_bytes(PayloadType::Intent, &packed, &[signer()]).unwrap();
        let context = VerifyContext {
            node: &wanted.node,
            keys: &keys,
            now: body.issued_at,
            last: None,
        };
        if let Ok(verified) = verify_intent(&envelope, &context)
            && let Ok(body) = join(&verified, Some(&cluster))
        {
            let inputs = OwnedInputs::of(Some(body.get().clone()));
            drop(Desired::from_inputs(&inputs.inputs()).ruleset.to_string());
            joined += 1;
        }
    });
    assert!(joined > 0);
}
