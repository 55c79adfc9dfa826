//! Documents that an agent must refuse, each wrong in one way, made from the good one that is in force.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};
use postern_e2e::lab::Lab;
use postern_intent::body::Class;
use postern_intent::envelope::{PayloadType, UNPACKED_LIMIT, pack};
use postern_intent::keys::KeySetDocument;
use postern_intent::sign::{
    Release, sign_bytes, sign_cluster, sign_intent, sign_key_set, sign_release,
};
use postern_intent::{ClusterDocument, DsseEnvelope, NodeDocument, Serial};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) const CLUSTER: &str = "cluster.dsse.json";
pub(crate) const INTENT: &str = "intent.dsse.json";
pub(crate) const RELEASE: &str = "release.dsse.json";
pub(crate) const KEYS: &str = "keys.dsse.json";
pub(crate) const FILES: [&str; 4] = [CLUSTER, INTENT, RELEASE, KEYS];

/// A document that an agent must refuse.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) document: Value,
}

impl Bad {
    pub(crate) fn new(
        name: &'static str,
        file: &'static str,
        reason: &'static str,
        document: &impl Serialize,
    ) -> Self {
        let document = serde_json::to_value(document).unwrap();
        Self {
            name,
            file,
            reason,
            document,
        }
    }
}

/// A key that no agent was installed with.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn key_set(version: u64, keys: &[&SigningKey]) -> KeySetDocument {
    let keys = keys.iter().map(|key| STANDARD.encode(key.verifying_key()));
    KeySetDocument {
        version,
        keys: keys.collect(),
    }
}

/// The same instructions, issued now, some serials later.
pub(crate) fn next(body: &NodeDocument, later: u64) -> NodeDocument {
    let now = Timestamp::now();
    NodeDocument {
        serial: Serial(body.serial.0 + later),
        issued_at: now,
        not_after: now + SignedDuration::from_hours(24),
        ..body.clone()
    }
}

/// The same facts about the cluster, issued now, some serials later.
pub(crate) fn next_cluster(document: &ClusterDocument, later: u64) -> ClusterDocument {
    let now = Timestamp::now();
    ClusterDocument {
        serial: Serial(document.serial.0 + later),
        issued_at: now,
        not_after: now + SignedDuration::from_hours(24),
        ..document.clone()
    }
}

pub(crate) fn release_of(body: &NodeDocument, later: u64, reason: &str) -> Release {
    let now = Timestamp::now();
    Release {
        node: body.node.clone(),
        serial: Serial(body.serial.0 + later),
        issued_at: now,
        not_after: now + SignedDuration::from_hours(1),
        reason: reason.to_owned(),
    }
}

/// Every bad document of the design, each with the reason that it must be refused for.
pub(crate) fn bad_documents(
    (body, cluster): (&NodeDocument, &ClusterDocument),
    good: &DsseEnvelope,
    trusted: &SigningKey,
) -> Vec<Bad> {
    let mut all = bad_envelopes(body, good, trusted);
    all.extend(bad_bodies(body, trusted));
    all.extend(bad_clusters(cluster, trusted));
    all.extend(bad_key_sets(trusted));
    let foreign = sign_release(&release_of(body, 1, "forged"), &[key(9)]).unwrap();
    all.push(Bad::new(
        "release by an unknown key",
        RELEASE,
        "UnknownKey",
        &foreign,
    ));
    let mut old = release_of(body, 0, "replayed");
    old.serial = Serial(body.serial.0 - 1);
    let old = sign_release(&old, std::slice::from_ref(trusted)).unwrap();
    all.push(Bad::new("release replayed", RELEASE, "Replayed", &old));
    all
}

fn bad_envelopes(body: &NodeDocument, good: &DsseEnvelope, trusted: &SigningKey) -> Vec<Bad> {
    let keys = std::slice::from_ref(trusted);
    let bad = |name, reason, document: &DsseEnvelope| Bad::new(name, INTENT, reason, document);
    let mut tampered = good.clone();
    let mut bytes = tampered.payload_bytes().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    tampered.payload = STANDARD.encode(bytes);
    let json = serde_json::to_vec(&next(body, 1)).unwrap();
    let bomb = pack(&vec![b' '; usize::try_from(UNPACKED_LIMIT).unwrap() + 1]).unwrap();
    let bomb = sign_bytes(PayloadType::Intent, &bomb, keys).unwrap();
    let plain = sign_bytes(PayloadType::Intent, &json, keys).unwrap();
    let other = sign_bytes(PayloadType::Release, &pack(&json).unwrap(), keys).unwrap();
    let unknown = sign_intent(&next(body, 1), &[key(9)]).unwrap();
    vec![
        bad("tampered payload", "BadSignature", &tampered),
        bad("unpacked bomb", "TooLarge", &bomb),
        bad("payload that is not packed", "BadPayload", &plain),
        bad("wrong payload type", "PayloadType", &other),
        bad("unknown key", "UnknownKey", &unknown),
        Bad::new("no envelope", INTENT, "Malformed", &json!({"payload": 1})),
    ]
}

fn bad_bodies(body: &NodeDocument, trusted: &SigningKey) -> Vec<Bad> {
    let mut out = Vec::new();
    let mut changed = |name, reason, change: &dyn Fn(&mut NodeDocument)| {
        let mut body = next(body, 1);
        change(&mut body);
        let signed = sign_intent(&body, std::slice::from_ref(trusted)).unwrap();
        out.push(Bad::new(name, INTENT, reason, &signed));
    };
    let serial = body.serial.0;
    let hours = SignedDuration::from_hours;
    changed("replayed", "Replayed", &|body| {
        body.serial = Serial(serial - 1)
    });
    changed("equal serial", "Equivocation", &|body| {
        body.serial = Serial(serial)
    });
    changed("expired", "Expired", &|body| {
        body.not_after = body.issued_at - hours(1);
        body.issued_at -= hours(2);
    });
    changed("from the future", "FromTheFuture", &|body| {
        body.issued_at += hours(1);
        body.not_after += hours(2);
    });
    changed("wrong node", "WrongNode", &|body| {
        body.node.name = "n9".parse().unwrap()
    });
    changed("wrong UID", "WrongNodeUid", &|body| {
        body.node.uid = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    });
    changed("contradicts itself", "Inconsistent", &|body| {
        body.pods[0].class = Class::Policy {
            scope: "nobody/nothing@nowhere".parse().unwrap(),
        };
    });
    changed(
        "needs a newer cluster document",
        "ClusterAwaited",
        &|body| {
            body.cluster_serial = Serial(body.cluster_serial.0 + 1);
        },
    );
    changed("from before a restore", "FormerLineage", &|body| {
        body.cluster_serial = Serial(0);
    });
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 2] = [
        ("unknown class", |body| {
            body["pods"][0]["class"] = json!({"type": "Sometimes"});
        }),
        ("unknown field", |body| body["colour"] = json!("red")),
    ];
    for (name, change) in changes {
        let mut body = serde_json::to_value(next(body, 1)).unwrap();
        change(&mut body);
        let packed = pack(&serde_json::to_vec(&body).unwrap()).unwrap();
        let keys = std::slice::from_ref(trusted);
        let signed = sign_bytes(PayloadType::Intent, &packed, keys).unwrap();
        out.push(Bad::new(name, INTENT, "NotUnderstood", &signed));
    }
    out
}

fn bad_clusters(cluster: &ClusterDocument, trusted: &SigningKey) -> Vec<Bad> {
    let keys = std::slice::from_ref(trusted);
    let mut out = Vec::new();
    let mut changed = |name, reason, change: &dyn Fn(&mut ClusterDocument)| {
        let mut document = next_cluster(cluster, 1);
        change(&mut document);
        let signed = sign_cluster(&document, keys).unwrap();
        out.push(Bad::new(name, CLUSTER, reason, &signed));
    };
    let hours = SignedDuration::from_hours;
    changed("cluster document replayed", "Replayed", &|document| {
        document.serial = Serial(cluster.serial.0 - 1);
        (document.follows, document.changed) = (document.serial, document.serial);
    });
    changed(
        "cluster document of an equal serial",
        "Equivocation",
        &|document| {
            document.serial = cluster.serial;
        },
    );
    changed("cluster document expired", "Expired", &|document| {
        document.not_after = document.issued_at - hours(1);
        document.issued_at -= hours(2);
    });
    changed(
        "cluster document from the future",
        "FromTheFuture",
        &|document| {
            document.issued_at += hours(1);
            document.not_after += hours(2);
        },
    );
    changed(
        "cluster document of after a restore",
        "FormerLineage",
        &|document| {
            document.follows = document.serial;
        },
    );
    changed(
        "cluster document that contradicts itself",
        "Inconsistent",
        &|document| {
            document.follows = Serial(document.serial.0 + 1);
        },
    );
    let unknown = sign_cluster(&next_cluster(cluster, 1), &[key(9)]).unwrap();
    let name = "cluster document by an unknown key";
    out.push(Bad::new(name, CLUSTER, "UnknownKey", &unknown));
    out
}

fn bad_key_sets(trusted: &SigningKey) -> Vec<Bad> {
    let keys = std::slice::from_ref(trusted);
    let signed = |document: &KeySetDocument| sign_key_set(document, keys).unwrap();
    let bad = |name, reason, document: &DsseEnvelope| Bad::new(name, KEYS, reason, document);
    let stranger = sign_key_set(&key_set(1, &[&key(9)]), &[key(9)]).unwrap();
    let mut forged = stranger.clone();
    forged.signatures[0].keyid = postern_intent::keys::KeyId::of(&trusted.verifying_key());
    let weak = KeySetDocument {
        version: 1,
        keys: vec![STANDARD.encode([0; 32])],
    };
    vec![
        bad("key set by its own new key", "UnknownKey", &stranger),
        bad("key set forged", "BadSignature", &forged),
        bad(
            "key set not newer",
            "KeySetVersion",
            &signed(&key_set(0, &[&key(9)])),
        ),
        bad("empty key set", "EmptyKeySet", &signed(&key_set(1, &[]))),
        bad("weak key", "BadKeySet", &signed(&weak)),
    ]
}

/// Writes a stopped agent's ledger as it would have written it itself.
pub(crate) fn write_ledger(lab: &Lab, node: &str, change: impl FnOnce(&mut Value)) {
    let path = lab.node_dir(node).join("state/ledger.json");
    let page: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut entries: Value = serde_json::from_str(page["entries"].as_str().unwrap()).unwrap();
    change(&mut entries);
    let text = entries.to_string();
    let mut program = std::process::Command::new("sha256sum");
    let sum = postern_e2e::lab::sandbox::command::run_with_input(&mut program, &text).unwrap();
    let sum = sum.split_whitespace().next().unwrap();
    let page = json!({"sha256": sum, "entries": text});
    std::fs::write(&path, page.to_string()).unwrap();
}
