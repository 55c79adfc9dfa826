//! Clock, ledger and verifier together: what has run out stays so, whatever the wall clock says after a restart.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_agent::clock::Clock;
use postern_agent::inbox::{DocumentKind, DocumentOutcome, Verifier};
use postern_agent::ledger::Ledger;
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::sign_intent;
use postern_intent::{DocumentRefusal, NodeDocument, TrustedKeys};
use serde_json::json;

/// What the wall clock showed before somebody turned it back by two days: the test cannot turn the machine's clock, so
/// it puts the past two days ahead.
fn before_the_restart() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(48)
}

fn body(serial: u64, issued_at: Timestamp, not_after: Timestamp) -> NodeDocument {
    serde_json::from_value(json!({
        "version": postern_intent::body::FORMAT_VERSION, "node": {"name": "n1", "uid": "11111111-1111-4111-8111-111111111111"},
        "serial": serial, "issuedAt": issued_at, "notAfter": not_after,
        "clusterSerial": 1, "localPodRanges": [], "localAddresses": [],
        "tunnels": [], "routes": [], "nat": [], "firewall": [], "pods": [], "allocations": [],
    }))
    .unwrap()
}

fn judge(ledger: &Ledger, body: &NodeDocument) -> Result<DocumentOutcome, DocumentRefusal> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        key.verifying_key(),
    );
    let keys = TrustedKeys::from_document(&KeySetDocument {
        version: 0,
        keys: vec![public],
    })
    .unwrap();
    let envelope = serde_json::to_vec(&sign_intent(body, &[key]).unwrap()).unwrap();
    let verifier = Verifier {
        node: &body.node,
        keys: &keys,
        ledger: ledger.entries(),
        now: Clock::new(ledger.entries().highest_time).now(),
    };
    verifier.judge(DocumentKind::Intent, &envelope)
}

#[test]
fn an_intent_that_expired_stays_expired_when_the_wall_clock_was_turned_back_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    let old = body(7, now, now + SignedDuration::from_hours(24));
    let (mut ledger, _) = Ledger::open(folder.path());
    assert!(judge(&ledger, &old).is_ok(), "good by the wall clock alone");
    ledger
        .record(|entries| entries.highest_time = Some(before_the_restart()))
        .unwrap();
    drop(ledger);

    let (ledger, _) = Ledger::open(folder.path());
    let refused = judge(&ledger, &old).unwrap_err();
    assert_eq!(refused.reason(), "Expired", "{refused}");
}

#[test]
fn an_intent_of_the_time_that_the_ledger_has_seen_is_not_from_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(folder.path());
    let seen = before_the_restart();
    let fresh = body(8, seen, seen + SignedDuration::from_hours(24));
    let refused = judge(&ledger, &fresh).unwrap_err();
    assert_eq!(refused.reason(), "FromTheFuture", "{refused}");
    ledger
        .record(|entries| entries.highest_time = Some(seen))
        .unwrap();
    let (ledger, _) = Ledger::open(folder.path());
    assert!(judge(&ledger, &fresh).is_ok());
}

#[test]
fn now_goes_on_from_the_highest_time_seen_while_the_wall_clock_is_behind() {
    let seen = before_the_restart();
    let clock = Clock::new(Some(seen));
    let first = clock.now();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let second = clock.now();
    assert!(first >= seen && second > first, "{first} {second}");
}
