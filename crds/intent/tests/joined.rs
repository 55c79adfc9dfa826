//! The document for all nodes, and what a node makes of it together with its own.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::{SignedDuration, Timestamp};
use postern_intent::body::{Cluster, FORMAT_VERSION, NodeIdentity};
use postern_intent::published::{read_cluster, read_intent};
use postern_intent::sign::{sign_cluster, sign_intent};
use postern_intent::verify::{
    Accepted, Verified, VerifyContext, join, verify_cluster, verify_intent,
};
use postern_intent::{
    Body, ClusterDocument, DocumentRefusal, DsseEnvelope, NodeDocument, Serial, TrustedKeys,
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn now() -> Timestamp {
    "2026-11-23T04:00:00Z".parse().unwrap()
}

fn identity() -> NodeIdentity {
    NodeIdentity {
        name: "n1".parse().unwrap(),
        uid: "uid-1".parse().unwrap(),
    }
}

fn cluster(serial: u64, follows: u64) -> ClusterDocument {
    ClusterDocument {
        version: FORMAT_VERSION,
        serial: Serial(serial),
        follows: Serial(follows),
        changed: Serial(follows),
        lost: Vec::new(),
        issued_at: now(),
        not_after: now() + SignedDuration::from_hours(24),
        guarded_namespaces: ["crawlers".parse().unwrap()].into(),
        cluster: Cluster {
            service_addresses: ["203.0.113.5".parse().unwrap()].into(),
            ..Cluster::default()
        },
    }
}

fn intent(cluster_serial: u64) -> NodeDocument {
    NodeDocument {
        version: FORMAT_VERSION,
        node: identity(),
        serial: Serial(7),
        cluster_serial: Serial(cluster_serial),
        issued_at: now(),
        not_after: now() + SignedDuration::from_hours(24),
        trace_id: None,
        local_pod_ranges: Vec::new(),
        local_addresses: ["192.168.10.11".parse().unwrap()].into(),
        tunnels: Vec::new(),
        routes: Vec::new(),
        nat: Vec::new(),
        external: Vec::new(),
        firewall: Vec::new(),
        pods: Vec::new(),
        isolation: None,
        allocations: Vec::new(),
    }
}

fn keys() -> TrustedKeys {
    let public = key(1).verifying_key();
    let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
    TrustedKeys::installed([pem.as_str()]).unwrap()
}

fn verified(envelope: &DsseEnvelope) -> Result<Verified<ClusterDocument>, DocumentRefusal> {
    verify_cluster(envelope, &keys(), now(), None)
}

fn signed(document: &ClusterDocument) -> DsseEnvelope {
    sign_cluster(document, &[key(1)]).unwrap()
}

fn joined(
    intent: &NodeDocument,
    cluster: Option<&ClusterDocument>,
) -> Result<Body, DocumentRefusal> {
    let envelope = sign_intent(intent, &[key(1)]).unwrap();
    let own = verify_intent(
        &envelope,
        &VerifyContext {
            node: &identity(),
            keys: &keys(),
            now: now(),
            last: None,
        },
    )?;
    let cluster = cluster.map(|document| verified(&signed(document)).unwrap());
    join(&own, cluster.as_ref()).map(|body| body.get().clone())
}

#[test]
fn a_body_has_what_both_documents_say_and_ends_with_the_first_of_them() {
    let mut shared = cluster(9, 5);
    shared.not_after = now() + SignedDuration::from_hours(1);
    let body = joined(&intent(5), Some(&shared)).unwrap();
    assert_eq!(body.guarded_namespaces, shared.guarded_namespaces);
    assert_eq!(body.inbound_addresses().len(), 2);
    assert_eq!((body.serial, body.cluster_serial), (Serial(7), Serial(9)));
    assert_eq!(body.not_after, shared.not_after);
}

#[test]
fn an_intent_waits_for_the_cluster_document_that_it_needs() {
    let reason = |cluster: Option<&ClusterDocument>| joined(&intent(5), cluster).unwrap_err();
    assert_eq!(reason(None).reason(), "ClusterAwaited");
    assert_eq!(reason(Some(&cluster(4, 1))).reason(), "ClusterAwaited");
    assert!(joined(&intent(5), Some(&cluster(5, 5))).is_ok());
}

/// After the store was set back the operator begins anew: what it leaves out may be lost, and no node that a person has not
/// approved takes it.
#[test]
fn an_intent_from_before_the_store_was_set_back_is_not_joined_with_what_came_after() {
    let refusal = joined(&intent(5), Some(&cluster(9, 8))).unwrap_err();
    assert_eq!(refusal.reason(), "FormerLineage");
    assert!(refusal.may_pass());
}

#[test]
fn every_bad_cluster_document_is_refused_with_its_own_reason() {
    let reason = |document: &ClusterDocument| {
        let found = verified(&signed(document));
        found.map_or_else(|refusal| refusal.reason(), |_| "accepted")
    };
    let good = cluster(5, 5);
    assert_eq!(reason(&good), "accepted");
    let changed = |change: &dyn Fn(&mut ClusterDocument)| {
        let mut document = cluster(5, 5);
        change(&mut document);
        reason(&document)
    };
    assert_eq!(changed(&|one| one.follows = Serial(6)), "Inconsistent");
    assert_eq!(
        changed(&|one| one.not_after = one.issued_at),
        "Inconsistent"
    );
    let future = now() + SignedDuration::from_mins(2);
    assert_eq!(changed(&|one| one.issued_at = future), "FromTheFuture");
    let long_ago = now() - SignedDuration::from_hours(2);
    let expired = changed(&|one| {
        one.issued_at = long_ago;
        one.not_after = now();
    });
    assert_eq!(expired, "Expired");
    assert_eq!(changed(&|one| one.version += 1), "FormatVersion");
    let stranger = sign_cluster(&good, &[key(2)]).unwrap();
    assert_eq!(verified(&stranger).unwrap_err().reason(), "UnknownKey");
    let own = sign_intent(&intent(5), &[key(1)]).unwrap();
    assert_eq!(verified(&own).unwrap_err().reason(), "PayloadType");
}

#[test]
fn a_cluster_document_that_an_agent_refuses_by_its_content_is_read_by_nobody() {
    let read = |change: &dyn Fn(&mut ClusterDocument)| {
        let mut document = cluster(5, 5);
        change(&mut document);
        let found = read_cluster(&signed(&document));
        found.map_or_else(|refusal| refusal.reason(), |_| "read")
    };
    assert_eq!(read(&|_| {}), "read");
    assert_eq!(read(&|one| one.follows = Serial(6)), "Inconsistent");
    assert_eq!(read(&|one| one.changed = Serial(6)), "Inconsistent");
    assert_eq!(read(&|one| one.not_after = one.issued_at), "Inconsistent");
}

#[test]
fn a_person_does_not_read_the_document_of_another_node_as_that_of_this_one() {
    let envelope = sign_intent(&intent(5), &[key(1)]).unwrap();
    let of = |node: &str| read_intent(&envelope, &node.parse().unwrap());
    assert!(of("n1").is_ok());
    assert_eq!(of("n2").unwrap_err().reason(), "WrongNode");
}

#[test]
fn an_older_cluster_document_and_another_one_of_the_same_serial_are_refused() {
    let after = |serial, digest| {
        let last = Some(Accepted {
            serial: Serial(serial),
            digest,
        });
        let envelope = signed(&cluster(5, 5));
        let found = verify_cluster(&envelope, &keys(), now(), last);
        found.map_or_else(|refusal| refusal.reason(), |_| "accepted")
    };
    let own = signed(&cluster(5, 5)).digest().unwrap();
    assert_eq!(after(4, "another"), "accepted");
    assert_eq!(after(5, &own), "accepted");
    assert_eq!(after(5, "another"), "Equivocation");
    assert_eq!(after(6, "another"), "Replayed");
}
