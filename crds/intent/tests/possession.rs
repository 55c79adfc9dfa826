//! The proof that a node holds the private half of its WireGuard key.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use postern_intent::possession::{Claim, KeyPurpose, Proof, is_proved, prove};
use postern_intent::{KeyId, NodeName, NodeUid, TrustedKeys, WgKey};

/// The private key of a node, and its public half (RFC 7748, section 6.1: Alice).
const PRIVATE: [u8; 32] = [
    0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
    0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
];
const PUBLIC: [u8; 32] = [
    0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
    0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
];

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn trusted(keys: &[SigningKey]) -> TrustedKeys {
    let pem = |key: &SigningKey| key.verifying_key().to_public_key_pem(LineEnding::LF);
    let pems: Vec<String> = keys.iter().map(|key| pem(key).unwrap()).collect();
    TrustedKeys::installed(pems.iter().map(String::as_str)).unwrap()
}

struct Node {
    name: NodeName,
    uid: NodeUid,
    key: WgKey,
}

impl Node {
    fn new(name: &str, uid: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            uid: uid.parse().unwrap(),
            key: WgKey::from_bytes(PUBLIC).unwrap(),
        }
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            node: &self.name,
            uid: &self.uid,
            key: &self.key,
            purpose: KeyPurpose::WireGuard,
        }
    }
}

fn judged(keys: &[SigningKey], claim: &Claim<'_>, proofs: &[(KeyId, Proof)]) -> bool {
    let texts: Vec<(String, String)> = proofs
        .iter()
        .map(|(id, proof)| (id.to_string(), proof.to_string()))
        .collect();
    let texts = texts.iter().map(|(id, text)| (id.as_str(), text.as_str()));
    is_proved(keys, claim, texts)
}

#[test]
fn the_holder_of_the_private_key_proves_it_to_every_operator_that_the_node_trusts() {
    let node = Node::new("n1", "u1");
    let proofs = prove(&PRIVATE, &trusted(&[signing(1), signing(2)]), &node.claim());
    assert_eq!(proofs.len(), 2);
    for ring in [&[signing(1)][..], &[signing(2)], &[signing(3), signing(2)]] {
        assert!(judged(ring, &node.claim(), &proofs));
    }
    assert!(!judged(&[signing(3)], &node.claim(), &proofs));
    assert!(!judged(&[], &node.claim(), &proofs));
}

#[test]
fn a_copied_proof_proves_nothing_for_another_node_uid_or_key() {
    let node = Node::new("n1", "u1");
    let ring = [signing(1)];
    let proofs = prove(&PRIVATE, &trusted(&ring), &node.claim());
    let mut same_point = PUBLIC;
    same_point[31] |= 0x80;
    let other_key = Node {
        key: WgKey::from_bytes(same_point).unwrap(),
        ..Node::new("n1", "u1")
    };
    for other in [
        Node::new("n2", "u1"),
        Node::new("n1", "u2"),
        Node::new("n1u", "1"),
        other_key,
    ] {
        assert!(!judged(&ring, &other.claim(), &proofs));
    }
}

#[test]
fn one_good_proof_counts_beside_many_bad_ones_of_the_same_key() {
    let node = Node::new("n1", "u1");
    let ring = [signing(1), signing(2)];
    let good = prove(&PRIVATE, &trusted(&ring), &node.claim());
    let bad = prove(&[5; 32], &trusted(&ring), &node.claim());
    let mut proofs = vec![bad[0].clone(); 15];
    assert!(!judged(&ring, &node.claim(), &proofs));
    // The id of a key is a hint: a good proof of one key under the id of the other is none.
    proofs.push((good[0].0.clone(), good[1].1));
    assert!(!judged(&ring, &node.claim(), &proofs));
    proofs.push(good[0].clone());
    assert!(judged(&ring, &node.claim(), &proofs));
}

#[test]
fn without_the_private_key_nobody_makes_a_proof() {
    let node = Node::new("n1", "u1");
    let ring = [signing(1)];
    let proofs = prove(&[5; 32], &trusted(&ring), &node.claim());
    assert!(!judged(&ring, &node.claim(), &proofs));
    let id = KeyId::of(&signing(1).verifying_key());
    let zeros = format!("{}=", "A".repeat(43));
    for text in ["", "AAAA", &zeros] {
        assert!(!is_proved(&ring, &node.claim(), [(id.as_str(), text)]));
    }
}

/// Nodes and operators of different versions have to agree on the bytes. The expected text comes from a second implementation,
/// of X25519 in Python, whose public key for the scalar of Ed25519 was computed without the map between the curves.
#[test]
fn the_proof_of_a_known_key_is_the_committed_one() {
    let node = Node::new("n1", "u1");
    let proofs = prove(&PRIVATE, &trusted(&[signing(1)]), &node.claim());
    let shown: Vec<String> = proofs.iter().map(|(_, proof)| proof.to_string()).collect();
    assert_eq!(shown, ["XPUnshsINu3EAbYm5a/ZCzWshRu6ygr1q/w2cWicG/g="]);
}

#[test]
fn a_proof_for_one_purpose_proves_nothing_for_another_one() {
    let node = Node::new("n1", "u1");
    let proofs = prove(&PRIVATE, &trusted(&[signing(1)]), &node.claim());
    let other = Claim {
        purpose: KeyPurpose::Credentials,
        ..node.claim()
    };
    assert!(judged(&[signing(1)], &node.claim(), &proofs));
    assert!(!judged(&[signing(1)], &other, &proofs));
}
