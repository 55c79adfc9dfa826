//! Keys: pinned ones change by a signed key set or by root, and by nothing else.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use postern_agent::agent::{Activation, NodeUpdate};
use postern_intent::possession::{Claim, is_proved};
use postern_intent::{Body, TrustedKeys};

use crate::fixture::client;
use crate::next;
use crate::node::Node;

fn replacement() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// A body comes that the new key signed.
async fn comes_signed_anew(node: &mut Node, body: Body) {
    node.puts_body_by(&replacement(), body);
    node.agent.take_documents();
    node.runs(Activation::IntentChanged).await;
}

#[tokio::test]
async fn installed_keys_count_when_root_says_so_and_are_pinned() {
    let mut node = Node::new();
    node.takes(client()).await;
    let pem = replacement().verifying_key();
    let pem = pem.to_public_key_pem(LineEnding::LF).unwrap();
    let installed = TrustedKeys::installed([pem.as_str()]).unwrap();
    let updated = NodeUpdate::InstalledKeys(installed.clone());
    node.agent.take_update(updated);
    let body = next(&client(), |_| {});
    let serial = body.serial;
    comes_signed_anew(&mut node, body).await;
    assert!(
        node.agent.status().applied_serial < Some(serial.0),
        "the pinned key counts"
    );

    let answer = node.agent.trust_by_root("the key is lost");
    assert!(answer.ok, "{answer:?}");
    node.agent.take_documents();
    node.runs(Activation::IntentChanged).await;
    assert_eq!(node.agent.status().applied_serial, Some(serial.0));

    let pinned = node.agent.memory.ledger.entries().keys.clone();
    assert_eq!(pinned, Some(installed.document()), "also over a restart");
}

/// Does the report prove the node's tunnel key to the holder of the key that replaces the first one?
fn proves_to_replacement(node: &Node) -> bool {
    let said = node.agent.status().public_keys.unwrap();
    let claim = Claim {
        node: &node.agent.options.node.name,
        uid: &node.agent.options.node.uid,
        key: &said.wireguard.unwrap().parse().unwrap(),
        purpose: postern_intent::possession::KeyPurpose::WireGuard,
    };
    let proofs = said.wireguard_proofs.iter();
    let proofs = proofs.map(|proof| (proof.key_id.as_str(), proof.mac.as_str()));
    is_proved(&[replacement()], &claim, proofs)
}

#[tokio::test]
async fn the_tunnel_key_is_proved_before_any_intent_and_to_the_keys_that_are_trusted_then() {
    let mut node = Node::new();
    assert!(!proves_to_replacement(&node));
    let pem = replacement().verifying_key();
    let pem = pem.to_public_key_pem(LineEnding::LF).unwrap();
    let installed = TrustedKeys::installed([pem.as_str()]).unwrap();
    node.agent.take_update(NodeUpdate::InstalledKeys(installed));
    assert!(proves_to_replacement(&node));
    node.agent
        .take_update(NodeUpdate::Node("another".parse().unwrap()));
    assert!(proves_to_replacement(&node), "the proof follows the UID");
}
