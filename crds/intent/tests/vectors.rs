//! Vectors: every way in which a document can be wrong has its own reason, and a good one has none.
#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};
use postern_intent::body::{Class, FORMAT_VERSION, NodeIdentity, Pod};
use postern_intent::envelope::{
    PayloadType, UNPACKED_LIMIT, pack, pre_authentication_encoding, unpack,
};
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::{Release, sign_bytes, sign_intent, sign_key_set, sign_release};
use postern_intent::verify::{
    Accepted, VerifyContext, parse_envelope, verify_intent, verify_key_set, verify_release,
};
use postern_intent::{DocumentRefusal, DsseEnvelope, KeyId, NodeDocument, Serial, TrustedKeys};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn trusting(keys: &[&SigningKey]) -> TrustedKeys {
    let pems: Vec<String> = keys
        .iter()
        .map(|key| {
            let public = key.verifying_key();
            public.to_public_key_pem(LineEnding::LF).expect("a PEM")
        })
        .collect();
    TrustedKeys::installed(pems.iter().map(String::as_str)).expect("a key set")
}

fn now() -> Timestamp {
    "2026-11-23T04:00:00Z".parse().expect("a time")
}

fn identity() -> NodeIdentity {
    NodeIdentity {
        name: "n1".parse().expect("a name"),
        uid: "uid-1".parse().expect("a UID"),
    }
}

fn body() -> NodeDocument {
    NodeDocument {
        version: FORMAT_VERSION,
        node: identity(),
        serial: Serial(7),
        issued_at: now(),
        not_after: now() + SignedDuration::from_hours(24),
        trace_id: None,
        cluster_serial: Serial(3),
        local_pod_ranges: Vec::new(),
        local_addresses: BTreeSet::new(),
        tunnels: Vec::new(),
        routes: Vec::new(),
        nat: Vec::new(),
        external: Vec::new(),
        firewall: Vec::new(),
        pods: vec![Pod {
            namespace: "crawlers".parse().expect("a namespace"),
            name: "a".parse().expect("a name"),
            uid: "pod-1".parse().expect("a UID"),
            class: Class::Released,
            addresses: ["10.244.1.5".parse().expect("an address")].into(),
        }],
        isolation: None,
        allocations: Vec::new(),
    }
}

fn signed(body: &NodeDocument) -> DsseEnvelope {
    sign_intent(body, &[key(1)]).expect("an envelope")
}

/// What a node says that trusts key 1 and has seen nothing yet.
fn verify(envelope: &DsseEnvelope) -> Result<NodeDocument, DocumentRefusal> {
    verify_after(envelope, None)
}

fn verify_after(
    envelope: &DsseEnvelope,
    last: Option<Accepted<'_>>,
) -> Result<NodeDocument, DocumentRefusal> {
    let (node, keys) = (identity(), trusting(&[&key(1)]));
    let context = VerifyContext {
        node: &node,
        keys: &keys,
        now: now(),
        last,
    };
    verify_intent(envelope, &context).map(|verified| verified.get().clone())
}

fn reason(result: Result<NodeDocument, DocumentRefusal>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(refusal) => refusal.reason(),
    }
}

#[test]
fn a_good_intent_is_accepted_as_it_was_written() {
    assert_eq!(verify(&signed(&body())).expect("a body"), body());
}

#[test]
fn the_same_body_always_gives_the_same_envelope() {
    assert_eq!(signed(&body()), signed(&body()));
}

#[test]
fn the_same_intent_again_is_accepted() {
    let envelope = signed(&body());
    let digest = envelope.digest().expect("a digest");
    let last = Accepted {
        serial: Serial(7),
        digest: &digest,
    };
    assert_eq!(reason(verify_after(&envelope, Some(last))), "accepted");
}

#[test]
fn no_byte_of_the_payload_can_be_changed() {
    let envelope = signed(&body());
    let payload = envelope.payload_bytes().expect("bytes");
    for place in 0..payload.len() {
        for bit in 0..8 {
            let mut tampered = payload.clone();
            tampered[place] ^= 1 << bit;
            let changed = DsseEnvelope {
                payload: STANDARD.encode(&tampered),
                ..envelope.clone()
            };
            assert_eq!(
                reason(verify(&changed)),
                "BadSignature",
                "byte {place} bit {bit}"
            );
        }
    }
}

#[test]
fn no_byte_of_the_signature_can_be_changed() {
    let envelope = signed(&body());
    let signature = STANDARD.decode(&envelope.signatures[0].sig).expect("bytes");
    for place in 0..signature.len() {
        let mut tampered = signature.clone();
        tampered[place] ^= 1;
        let mut changed = envelope.clone();
        changed.signatures[0].sig = STANDARD.encode(&tampered);
        assert_eq!(reason(verify(&changed)), "BadSignature", "byte {place}");
    }
}

#[test]
fn no_byte_of_the_file_can_be_changed_to_another_meaning() {
    let json = serde_json::to_vec(&signed(&body())).expect("JSON");
    for place in 0..json.len() {
        let mut tampered = json.clone();
        tampered[place] ^= 1;
        let result = parse_envelope(&tampered).and_then(|envelope| verify(&envelope));
        // There is no second spelling: other padding bits of base64 are refused too.
        assert!(result.is_err(), "byte {place} of the file");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![b' '; 1024 * 1024];
    for _ in 0..=UNPACKED_LIMIT / zeros.len() as u64 {
        std::io::Write::write_all(&mut encoder, &zeros).expect("memory");
    }
    let bomb = encoder.finish().expect("memory");
    assert!(bomb.len() < 64 * 1024, "a bomb is small when it is packed");
    let envelope = sign_bytes(PayloadType::Intent, &bomb, &[key(1)]).expect("an envelope");
    assert_eq!(reason(verify(&envelope)), "TooLarge");
}

#[test]
fn a_payload_that_is_no_gzip_is_refused() {
    let envelope = sign_bytes(PayloadType::Intent, b"{}", &[key(1)]).expect("an envelope");
    assert_eq!(reason(verify(&envelope)), "BadPayload");
}

#[test]
fn an_older_intent_is_a_replay() {
    let last = Accepted {
        serial: Serial(8),
        digest: "of another",
    };
    assert_eq!(
        reason(verify_after(&signed(&body()), Some(last))),
        "Replayed"
    );
}

#[test]
fn an_equal_serial_with_another_digest_is_equivocation() {
    let last = Accepted {
        serial: Serial(7),
        digest: "of another",
    };
    assert_eq!(
        reason(verify_after(&signed(&body()), Some(last))),
        "Equivocation"
    );
}

#[test]
fn an_intent_is_expired_from_its_last_instant_on() {
    let mut body = body();
    body.issued_at = now() - SignedDuration::from_hours(24);
    body.not_after = now();
    assert_eq!(reason(verify(&signed(&body))), "Expired");
    body.not_after = now() + SignedDuration::from_secs(1);
    assert_eq!(reason(verify(&signed(&body))), "accepted");
}

#[test]
fn an_intent_from_beyond_the_skew_allowance_is_from_the_future() {
    let mut body = body();
    body.issued_at = now() + SignedDuration::from_secs(60);
    assert_eq!(reason(verify(&signed(&body))), "accepted");
    body.issued_at = now() + SignedDuration::from_secs(61);
    assert_eq!(reason(verify(&signed(&body))), "FromTheFuture");
}

#[test]
fn an_intent_of_another_node_is_refused() {
    let mut body = body();
    body.node.name = "n2".parse().expect("a name");
    assert_eq!(reason(verify(&signed(&body))), "WrongNode");
}

#[test]
fn an_intent_of_an_earlier_node_of_the_same_name_is_refused() {
    let mut body = body();
    body.node.uid = "uid-0".parse().expect("a UID");
    assert_eq!(reason(verify(&signed(&body))), "WrongNodeUid");
}

#[test]
fn a_key_that_is_not_trusted_signs_nothing() {
    let envelope = sign_intent(&body(), &[key(2)]).expect("an envelope");
    assert_eq!(reason(verify(&envelope)), "UnknownKey");
}

#[test]
fn a_trusted_key_id_on_a_foreign_signature_is_a_bad_signature() {
    let mut envelope = sign_intent(&body(), &[key(2)]).expect("an envelope");
    envelope.signatures[0].keyid = KeyId::of(&key(1).verifying_key());
    assert_eq!(reason(verify(&envelope)), "BadSignature");
}

#[test]
fn an_envelope_without_signatures_is_refused() {
    let mut envelope = signed(&body());
    envelope.signatures.clear();
    assert_eq!(reason(verify(&envelope)), "UnknownKey");
}

#[test]
fn during_a_rotation_one_of_two_signatures_is_enough() {
    let both = sign_intent(&body(), &[key(1), key(2)]).expect("an envelope");
    assert_eq!(reason(verify(&both)), "accepted");
    let (node, keys) = (identity(), trusting(&[&key(2)]));
    let context = VerifyContext {
        node: &node,
        keys: &keys,
        now: now(),
        last: None,
    };
    assert!(verify_intent(&both, &context).is_ok());
}

#[test]
fn a_rotated_key_set_ends_the_trust_in_the_old_key() {
    let pinned = trusting(&[&key(1)]);
    let mut document = trusting(&[&key(2)]).document();
    document.version = 1;
    let envelope = sign_key_set(&document, &[key(1)]).expect("an envelope");
    let rotated = verify_key_set(&envelope, &pinned).expect("a key set");
    let node = identity();
    let context = VerifyContext {
        node: &node,
        keys: rotated.get(),
        now: now(),
        last: None,
    };
    let by_old = verify_intent(&signed(&body()), &context).expect_err("a refusal");
    assert_eq!(by_old.reason(), "UnknownKey");
    let by_new = sign_intent(&body(), &[key(2)]).expect("an envelope");
    assert!(verify_intent(&by_new, &context).is_ok());
}

#[test]
fn a_key_set_that_only_its_own_new_key_signed_is_forged() {
    let pinned = trusting(&[&key(1)]);
    let mut document = trusting(&[&key(2)]).document();
    document.version = 1;
    let forged = sign_key_set(&document, &[key(2)]).expect("an envelope");
    let refusal = verify_key_set(&forged, &pinned).expect_err("a refusal");
    assert_eq!(refusal.reason(), "UnknownKey");
}

#[test]
fn an_old_or_empty_or_weak_key_set_is_refused() {
    let pinned = trusting(&[&key(1)]);
    let why = |document: &KeySetDocument| {
        let envelope = sign_key_set(document, &[key(1)]).expect("an envelope");
        verify_key_set(&envelope, &pinned)
            .expect_err("a refusal")
            .reason()
    };
    let mut document = pinned.document();
    assert_eq!(why(&document), "KeySetVersion");
    document.version = 1;
    document.keys = vec![STANDARD.encode([0; 32])];
    assert_eq!(why(&document), "BadKeySet");
    document.keys.clear();
    assert_eq!(why(&document), "EmptyKeySet");
}

#[test]
fn a_document_of_one_kind_is_never_taken_for_another() {
    let release = Release {
        node: identity(),
        serial: Serial(7),
        issued_at: now(),
        not_after: now() + SignedDuration::from_hours(1),
        reason: "uninstall".to_owned(),
    };
    let release = sign_release(&release, &[key(1)]).expect("an envelope");
    assert_eq!(reason(verify(&release)), "PayloadType");
    let relabelled = DsseEnvelope {
        payload_type: PayloadType::Intent.media_type().to_owned(),
        ..release.clone()
    };
    assert_eq!(reason(verify(&relabelled)), "BadSignature");
    let (node, keys) = (identity(), trusting(&[&key(1)]));
    let context = VerifyContext {
        node: &node,
        keys: &keys,
        now: now(),
        last: None,
    };
    assert!(verify_release(&release, &context).is_ok());
    let intent = verify_release(&signed(&body()), &context).expect_err("a refusal");
    assert_eq!(intent.reason(), "PayloadType");
    let key_set = verify_key_set(&signed(&body()), &keys).expect_err("a refusal");
    assert_eq!(key_set.reason(), "PayloadType");
}

#[test]
fn what_is_not_understood_is_not_guessed() {
    let known = serde_json::to_value(body()).expect("JSON");
    let sign = |value: &serde_json::Value| {
        let packed = pack(&serde_json::to_vec(value).expect("JSON")).expect("memory");
        sign_bytes(PayloadType::Intent, &packed, &[key(1)]).expect("an envelope")
    };
    assert_eq!(reason(verify(&sign(&known))), "accepted");
    let mut field = known.clone();
    field["new"] = serde_json::json!(1);
    assert_eq!(reason(verify(&sign(&field))), "NotUnderstood");
    let mut class = known;
    class["pods"][0]["class"]["type"] = serde_json::json!("Trusted");
    assert_eq!(reason(verify(&sign(&class))), "NotUnderstood");
}

#[test]
fn a_body_that_contradicts_itself_is_refused() {
    let mut body = body();
    body.pods[0].class = Class::Policy {
        scope: "crawlers/crawler@eu".parse().expect("a scope"),
    };
    assert_eq!(reason(verify(&signed(&body))), "Inconsistent");
}

#[test]
fn a_payload_has_no_time_of_its_own() {
    let packed = pack(b"{}").expect("memory");
    // RFC 1952, section 2.3: bytes 4 to 7 are the modification time.
    assert_eq!(packed[4..8], [0; 4]);
    assert_eq!(unpack(&packed).expect("bytes"), b"{}");
}

/// The vector of the DSSE protocol (secure-systems-lab/dsse, protocol.md, "Test Vectors"). Its signature is ECDSA, so
/// what is compared is what is signed.
#[test]
fn what_is_signed_is_what_the_dsse_protocol_says() {
    assert_eq!(
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
}

/// Lengths count bytes, not characters.
#[test]
fn lengths_in_the_encoding_are_lengths_of_bytes() {
    assert_eq!(
        pre_authentication_encoding("ä", "ö".as_bytes()),
        "DSSEv1 2 ä 2 ö".as_bytes()
    );
}

#[test]
fn a_body_of_another_format_is_refused_by_its_format_whatever_else_it_holds() {
    let mut document = serde_json::to_value(body()).expect("JSON");
    document["version"] = (FORMAT_VERSION + 1).into();
    document["somethingNew"] = true.into();
    let packed = pack(&serde_json::to_vec(&document).expect("JSON")).expect("bytes");
    let envelope = sign_bytes(PayloadType::Intent, &packed, &[key(1)]).expect("an envelope");
    assert_eq!(reason(verify(&envelope)), "FormatVersion");
}
