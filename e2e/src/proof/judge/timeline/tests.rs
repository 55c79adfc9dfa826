use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::sign_intent;
use postern_intent::{ClusterDocument, NodeDocument, Serial, TrustedKeys};
use serde_json::json;

use super::{Epoch, Guard, Timeline};
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

fn keys() -> TrustedKeys {
    let public = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        trusted().verifying_key(),
    );
    TrustedKeys::from_document(&KeySetDocument {
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
    timeline_with(&[cluster(1, 1)], intents, reports)
}

/// A cluster document of a serial, which goes on from another one, published in the second of its serial.
fn cluster(serial: u64, follows: u64) -> PublishedCluster {
    let document = ClusterDocument {
        version: postern_intent::body::FORMAT_VERSION,
        serial: Serial(serial),
        follows: Serial(follows),
        changed: Serial(follows),
        lost: Vec::new(),
        issued_at: at(0),
        not_after: at(0) + SignedDuration::from_hours(24),
        guarded_namespaces: ["shop".parse().unwrap()].into(),
        cluster: postern_intent::body::Cluster::default(),
    };
    PublishedCluster {
        at: at(serial.cast_signed() - 1),
        document,
    }
}

fn timeline_with(
    clusters: &[PublishedCluster],
    intents: &[Published],
    reports: &[Applied],
) -> Timeline {
    let node = Node {
        name: "n1".into(),
        number: 1,
        gateway: false,
        uid: UID.into(),
    };
    let clusters = clusters.iter();
    let clusters = clusters.map(|one| (one.document.serial, one.clone()));
    let history = History {
        keys: &[keys()],
        published: intents,
        cluster: &clusters.collect(),
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

/// A report that names a cluster document too.
fn joined(intent: &Published, second: i64, cluster: u64) -> Applied {
    Applied {
        cluster_serial: Serial(cluster),
        ..applied(intent, second)
    }
}

#[test]
fn a_report_of_a_body_that_its_node_must_not_join_is_unfounded() {
    let intents = [published(10, &trusted())];
    let clusters = [cluster(1, 1), cluster(2, 1), cluster(3, 3)];
    let unfounded = |serials: &[u64]| {
        let reports = serials.iter().zip(11..);
        let reports: Vec<Applied> = reports
            .map(|(serial, second)| joined(&intents[0], second, *serial))
            .collect();
        timeline_with(&clusters, &intents, &reports).unfounded.len()
    };
    assert_eq!(unfounded(&[1, 2]), 0);
    assert_eq!(unfounded(&[2, 1]), 1, "below the last one");
    assert_eq!(unfounded(&[1, 3]), 1, "made after the store was set back");
    assert_eq!(unfounded(&[1, 9]), 1, "never published");
}

#[test]
fn facts_that_no_report_names_are_joined_with_the_next_intent_only_once_that_is_there() {
    let intents = [published(10, &trusted()), published(30, &trusted())];
    let clusters = [cluster(1, 1), cluster(15, 1), cluster(20, 1)];
    let reports = [joined(&intents[0], 11, 1), joined(&intents[1], 31, 20)];
    let timeline = timeline_with(&clusters, &intents, &reports);
    assert_eq!(timeline.unfounded, Vec::<String>::new());
    let mut found: Vec<(Timestamp, u64)> = timeline.nodes["n1"]
        .iter()
        .map(|epoch| (epoch.published, epoch.verified.as_second().cast_unsigned()))
        .collect();
    found.sort_unstable();
    let published: Vec<Timestamp> = found.into_iter().map(|(published, _)| published).collect();
    assert_eq!(published, [10, 14, 19, 30, 30, 30].map(at));
}

#[test]
fn a_new_intent_is_joined_with_the_cluster_document_of_before_until_the_next_one_comes() {
    let intents = [published(10, &trusted()), published(30, &trusted())];
    let clusters = [cluster(1, 1), cluster(40, 1)];
    let reports = [joined(&intents[0], 11, 1), joined(&intents[1], 45, 40)];
    let found = epochs(&timeline_with(&clusters, &intents, &reports));
    assert!(found.contains(&(at(30), at(45))), "{found:?}");
    assert!(found.contains(&(at(39), at(45))), "{found:?}");
}

/// As where an agent starts while an intent is renewed: it applies the former one for a moment, with the cluster document of before.
#[test]
fn an_intent_that_no_report_names_is_joined_with_each_cluster_document_of_its_time() {
    let intents = [
        published(10, &trusted()),
        published(30, &trusted()),
        published(42, &trusted()),
    ];
    let clusters = [cluster(1, 1), cluster(25, 1), cluster(41, 1)];
    let reports = [joined(&intents[0], 11, 1), joined(&intents[2], 43, 41)];
    let found = epochs(&timeline_with(&clusters, &intents, &reports));
    assert!(found.contains(&(at(30), at(43))), "{found:?}");
}

/// A release is recorded as the last intent once more.
#[test]
fn a_release_frees_its_node_from_its_own_time_on_and_not_from_that_of_the_intent() {
    let intent = published(10, &trusted());
    let release = Published {
        at: at(40),
        digest: "release".into(),
        ..intent.clone()
    };
    let reports = [
        joined(&intent, 11, 1),
        Applied {
            released: true,
            ..joined(&release, 41, 20)
        },
    ];
    let clusters = [cluster(1, 1), cluster(20, 1), cluster(45, 1)];
    let timeline = timeline_with(&clusters, &[intent, release], &reports);
    let free = timeline.nodes["n1"]
        .iter()
        .filter(|epoch| epoch.node == Guard::Free);
    let published: Vec<Timestamp> = free.map(|epoch| epoch.published).collect();
    assert_eq!(published, [at(40)]);
}

#[test]
fn of_two_intents_that_end_and_begin_at_the_same_times_the_one_that_a_report_names_is_in_force() {
    let intents = [published(10, &trusted()), published(20, &trusted())];
    // Written with the second intent, and joined with both.
    let clusters = [cluster(21, 1)];
    let timeline = timeline_with(&clusters, &intents, &[joined(&intents[1], 22, 21)]);
    let epochs = &timeline.nodes["n1"];
    let times = |epoch: &Epoch| (epoch.published, epoch.verified);
    assert_eq!(times(&epochs[0]), times(&epochs[1]));
    let last = epochs.last().unwrap();
    assert_eq!(last.expires, at(20) + SignedDuration::from_hours(1));
}
