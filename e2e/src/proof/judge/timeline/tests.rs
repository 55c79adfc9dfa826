use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::sign_intent;
use postern_intent::{ClusterDocument, KeySet, NodeDocument, Serial};
use serde_json::json;

use super::Timeline;
use crate::lab::topology::Node;
use crate::proof::judge::bodies::History;
use crate::proof::monitor::{Applied, Published, PublishedCluster};

const UID: &str = "11111111-1111-4111-8111-111111111111";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn published(serial: i64, key: &SigningKey) -> Published {
    let issued = at(serial);
    let body: NodeDocument = serde_json::from_value(json!({
        "version": postern_intent::body::FORMAT_VERSION, "node": {"name": "n1", "uid": UID}, "serial": serial,
        "issuedAt": issued, "notAfter": issued + SignedDuration::from_hours(1),
        "clusterSerial": 1, "localPodRanges": [], "localAddresses": [],
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
        cluster_serial: Serial(1),
        verified_at: at(second),
        released: false,
    }
}

fn keys() -> KeySet {
    let public = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        trusted().verifying_key(),
    );
    KeySet::from_document(&KeySetDocument {
        version: 0,
        keys: vec![public],
    })
    .unwrap()
}

fn trusted() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn stranger() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn timeline(intents: &[Published], reports: &[Applied]) -> Timeline {
    let node = Node {
        name: "n1".into(),
        number: 1,
        gateway: false,
        uid: UID.into(),
    };
    let cluster = ClusterDocument {
        version: postern_intent::body::FORMAT_VERSION,
        serial: Serial(1),
        follows: Serial(1),
        changed: Serial(1),
        lost: Vec::new(),
        issued_at: at(0),
        not_after: at(0) + SignedDuration::from_hours(24),
        guarded_namespaces: ["shop".parse().unwrap()].into(),
        cluster: postern_intent::body::Cluster::default(),
    };
    let cluster = PublishedCluster {
        at: at(0),
        document: cluster,
    };
    let history = History {
        keys: &[keys()],
        published: intents,
        cluster: &[(Serial(1), cluster)].into(),
        applied: reports,
    };
    Timeline::of(&[node], &history)
}

fn epochs(timeline: &Timeline) -> Vec<(Timestamp, Timestamp)> {
    timeline.nodes["n1"]
        .iter()
        .map(|epoch| (epoch.published, epoch.verified))
        .collect()
}

#[test]
fn a_good_intent_that_no_report_names_may_have_been_in_force_until_the_next_one_and_a_forged_one_never()
 {
    let intents = [
        published(10, &trusted()),
        published(20, &trusted()),
        published(30, &stranger()),
        published(40, &trusted()),
        published(50, &trusted()),
    ];
    let reports = [applied(&intents[0], 11), applied(&intents[3], 41)];
    let timeline = timeline(&intents, &reports);
    let expected = [(at(10), at(11)), (at(20), at(41)), (at(40), at(41))];
    assert_eq!(epochs(&timeline), expected);
    assert_eq!(timeline.unfounded, Vec::<String>::new());
}

#[test]
fn a_report_that_names_a_forged_a_replayed_or_an_unknown_intent_is_unfounded_and_nothing_is_in_force_by_it()
 {
    let intents = [
        published(10, &trusted()),
        published(20, &trusted()),
        published(30, &stranger()),
    ];
    let unknown = Applied {
        digest: "unknown".to_owned(),
        ..applied(&intents[0], 60)
    };
    let reports = [
        applied(&intents[1], 21),
        applied(&intents[2], 31),
        applied(&intents[0], 41),
        unknown,
    ];
    let timeline = timeline(&intents, &reports);
    let expected = [(at(10), at(21)), (at(20), at(21))];
    assert_eq!(epochs(&timeline), expected);
    for word in ["none of the signing keys", "is below", "nobody"] {
        let says = |text: &String| text.contains(word);
        assert!(timeline.unfounded.iter().any(says), "{word}: {timeline:?}");
    }
}

#[test]
fn an_intent_is_in_force_from_the_first_check_that_is_younger_than_it() {
    let intents = [
        published(10, &trusted()),
        published(20, &trusted()),
        published(30, &trusted()),
    ];
    // The report names the second one while it still shows an older check, and never shows a younger one.
    let reports = [
        applied(&intents[0], 9),
        applied(&intents[0], 12),
        applied(&intents[1], 12),
        applied(&intents[2], 12),
        applied(&intents[2], 35),
    ];
    let expected = [(at(10), at(12)), (at(20), at(35)), (at(30), at(35))];
    assert_eq!(epochs(&timeline(&intents, &reports)), expected);
}

#[test]
fn an_intent_that_was_replaced_at_once_is_missed_and_one_that_stayed_is_unfounded() {
    let intents = [
        published(10, &trusted()),
        published(20, &trusted()),
        published(50, &trusted()),
    ];
    let missed = |second| Applied {
        digest: "missed".to_owned(),
        ..applied(&intents[0], second)
    };
    for (second, unfounded) in [(15, 1), (19, 0), (21, 0), (30, 1)] {
        let reports = [
            applied(&intents[0], 11),
            missed(second),
            applied(&intents[1], 21),
        ];
        let timeline = timeline(&intents, &reports);
        assert_eq!(timeline.unfounded.len(), unfounded, "{second}");
        let expected = [(at(10), at(11)), (at(20), at(21))];
        assert_eq!(epochs(&timeline), expected);
    }
}
