use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::sign_intent;
use postern_intent::{Body, KeySet};
use serde_json::json;

use super::Timeline;
use crate::lab::topology::Node;
use crate::proof::monitor::{Applied, Published};

const UID: &str = "11111111-1111-4111-8111-111111111111";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn published(serial: i64, key: &SigningKey) -> Published {
    let issued = at(serial);
    let body: Body = serde_json::from_value(json!({
        "version": postern_intent::body::FORMAT_VERSION, "node": {"name": "n1", "uid": UID}, "serial": serial,
        "issuedAt": issued, "notAfter": issued + SignedDuration::from_hours(1),
        "guardedNamespaces": ["shop"],
        "cluster": postern_intent::body::Cluster::default(),
        "tunnels": [], "routes": [], "nat": [], "firewall": [], "pods": [], "allocations": [],
    }))
    .unwrap();
    let envelope = sign_intent(&body, std::slice::from_ref(key)).unwrap();
    Published {
        node: "n1".into(),
        at: issued,
        digest: envelope.digest().unwrap(),
        envelope: serde_json::to_value(envelope).unwrap(),
    }
}

fn applied(intent: &Published, second: i64) -> Applied {
    Applied {
        node: "n1".into(),
        digest: intent.digest.clone(),
        verified_at: at(second),
        released: false,
    }
}

#[test]
fn a_good_intent_that_no_report_names_may_have_been_in_force_until_the_next_one_and_a_forged_one_never()
 {
    let (trusted, stranger) = (
        SigningKey::from_bytes(&[1; 32]),
        SigningKey::from_bytes(&[2; 32]),
    );
    let public = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        trusted.verifying_key(),
    );
    let keys = KeySet::from_document(&KeySetDocument {
        version: 0,
        keys: vec![public],
    })
    .unwrap();
    let intents = [
        published(10, &trusted),
        published(20, &trusted),
        published(30, &stranger),
        published(40, &trusted),
        published(50, &trusted),
    ];
    let reports = [applied(&intents[0], 11), applied(&intents[3], 41)];
    let node = Node {
        name: "n1".into(),
        number: 1,
        gateway: false,
        uid: UID.into(),
    };
    let timeline = Timeline::of(&[node], &keys, &intents, &reports);
    let epochs: Vec<(Timestamp, Timestamp)> = timeline.nodes["n1"]
        .iter()
        .map(|epoch| (epoch.published, epoch.verified))
        .collect();
    let expected = [(at(10), at(11)), (at(20), at(41)), (at(40), at(41))];
    assert_eq!(epochs, expected);
}
