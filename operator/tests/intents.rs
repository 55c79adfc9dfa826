//! How what is published stands, whatever somebody did to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_compile::publish::{DocumentChange, DocumentLoss, PublishedState};
use postern_compile::snapshot::{
    CompilerMemory, CompilerSettings, Definitions, Snapshot, SnapshotNode,
};
use postern_compile::{NodeOutcome, compile};
use postern_crds::conditions::Reason;
use postern_crds::{NodeIntent, NodeIntentSpec};
use postern_intent::{NodeDocument, NodeName};
use postern_operator::pipeline::intents::{IntentState, KnownIntents};
use postern_operator::pipeline::publish::spec;
use postern_operator::signer::KeyRing;
use postern_operator::watches::WatchedObject;

fn ring(seed: u8) -> KeyRing {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string();
    KeyRing::read([("key.pem", pem.as_bytes())]).unwrap()
}

fn node() -> NodeName {
    "n1".parse().unwrap()
}

/// A body of the compiler's own, for a cluster of one node at a time in seconds.
fn body(second: i64) -> NodeDocument {
    let snapshot = Snapshot {
        now: Timestamp::from_second(second).unwrap(),
        settings: CompilerSettings::default(),
        exits: Vec::new(),
        policies: Vec::new(),
        cluster_policies: Vec::new(),
        isolations: Vec::new(),
        nodes: vec![SnapshotNode {
            name: node(),
            uid: "u1".parse().unwrap(),
            labels: BTreeMap::new(),
            scheduling: Default::default(),
            addresses: Vec::new(),
            pod_ranges: Vec::new(),
        }],
        pods: Vec::new(),
        namespaces: Vec::new(),
        services: Vec::new(),
        credentials: BTreeMap::new(),
        reports: Vec::new(),
        previous: BTreeMap::new(),
        previous_cluster: None,
        cluster_is_own: false,
        unreadable: BTreeSet::new(),
        awaited: BTreeSet::new(),
        memory: CompilerMemory::default(),
        approvals: Vec::new(),
        definitions: Definitions::Serving,
        admin_definition: Definitions::Serving,
    };
    match compile(&snapshot).nodes.remove(&node()) {
        Some(NodeOutcome::Publish(body)) => *body,
        other => panic!("a body, not {other:?}"),
    }
}

fn signed(second: i64, seed: u8) -> NodeIntentSpec {
    spec(&body(second), &ring(seed), None).unwrap()
}

fn metadata(version: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some("n1".to_owned()),
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    }
}

fn shown(version: &str, spec: NodeIntentSpec) -> WatchedObject<NodeIntent> {
    WatchedObject::Good(NodeIntent {
        metadata: metadata(version),
        spec,
        status: None,
    })
}

fn look(intents: &mut KnownIntents, object: Option<&WatchedObject<NodeIntent>>) -> IntentState {
    let state = intents.state(&node(), object, ring(1).trust(), Instant::now());
    state.expect("a watch that has shown every write")
}

/// The process writes the body of a second, which becomes this version.
fn writes(intents: &mut KnownIntents, (second, version): (i64, &str), change: DocumentChange) {
    let body = Arc::new(body(second));
    let (spec, metadata) = (signed(second, 1), metadata(version));
    intents.wrote(node(), spec, body, &metadata, change, Instant::now());
}

/// A process that has published the body of second 2000 as version 10, and has seen it.
fn published() -> KnownIntents {
    let mut intents = KnownIntents::default();
    writes(&mut intents, (2000, "10"), DocumentChange::New);
    let state = look(&mut intents, Some(&shown("10", signed(2000, 1))));
    assert!(matches!(state, PublishedState::Current(_)), "{state:?}");
    intents
}

fn loss(object: Option<&WatchedObject<NodeIntent>>) -> DocumentLoss<Reason> {
    match look(&mut published(), object) {
        PublishedState::Lost(published, why) => {
            assert_eq!(*published.form, signed(2000, 1), "the same bytes");
            why
        }
        other => panic!("lost, not {other:?}"),
    }
}

#[test]
fn what_was_deleted_is_put_back_as_it_was() {
    assert_eq!(loss(None), DocumentLoss::Deleted);
}

#[test]
fn what_an_untrusted_key_signed_is_no_intent_and_what_was_published_is_put_back() {
    let forged = shown("11", signed(3000, 2));
    assert_eq!(
        loss(Some(&forged)),
        DocumentLoss::Changed(Reason::UnknownKey)
    );
}

#[test]
fn printed_copies_that_say_something_else_than_the_envelope_are_a_change() {
    let mut spec = signed(2000, 1);
    spec.serial += 1;
    assert_eq!(
        loss(Some(&shown("11", spec))),
        DocumentLoss::Changed(Reason::Inconsistent)
    );
}

#[test]
fn an_older_document_in_the_place_of_the_newer_one_is_not_gone_back_to() {
    let older = shown("11", signed(1000, 1));
    assert_eq!(loss(Some(&older)), DocumentLoss::Older);
}

#[test]
fn a_newer_document_of_a_trusted_key_is_what_counts() {
    let newer = shown("11", signed(3000, 1));
    let state = look(&mut published(), Some(&newer));
    let PublishedState::Current(found) = state else {
        panic!("current, not {state:?}");
    };
    assert_eq!(found.document.serial, body(3000).serial);
}

#[test]
fn a_write_that_the_watch_has_not_shown_yet_is_waited_for() {
    let mut intents = published();
    writes(&mut intents, (3000, "12"), DocumentChange::New);
    let before = shown("10", signed(2000, 1));
    let state = intents.state(&node(), Some(&before), ring(1).trust(), Instant::now());
    assert!(state.is_none(), "{state:?}");
}

#[test]
fn what_a_process_puts_back_or_signs_anew_stays_the_word_of_an_earlier_leader() {
    assert!(published().is_ours(&node()));
    for change in [DocumentChange::Republished, DocumentChange::Keys] {
        let mut intents = KnownIntents::default();
        look(&mut intents, Some(&shown("10", signed(2000, 1))));
        writes(&mut intents, (2000, "11"), change);
        assert!(!intents.is_ours(&node()), "{change:?}");
    }
}

#[test]
fn a_process_that_knows_nothing_calls_a_forged_intent_unreadable_and_never_absent() {
    let forged = shown("11", signed(3000, 2));
    let mut intents = KnownIntents::default();
    let state = look(&mut intents, Some(&forged));
    assert!(
        matches!(state, PublishedState::Unreadable(Reason::UnknownKey)),
        "{state:?}"
    );
    assert!(matches!(look(&mut intents, None), PublishedState::Absent));
}
