//! Token and trust folder: what they say anew reaches the agent.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use postern_agent::agent::NodeUpdate;
use postern_agent::apiserver::identity;
use postern_intent::TrustedKeys;

use crate::fake::Fake;
use crate::node::{Node, token, until};

#[tokio::test]
async fn the_token_says_which_node_this_is_and_that_is_remembered() {
    let fake = Fake::started().await;
    let (folder, mut options) = Node::prepared(&fake);
    options.uid = Some("older".parse().unwrap());
    let (endpoint, own) = (options.endpoint.clone(), options.node.clone());
    let mut node = Node::with(folder, options);
    let updates = node.updates.recv().await.unwrap();
    assert!(
        matches!(&updates, NodeUpdate::Node(uid) if uid.as_str() == "u1"),
        "{updates:?}"
    );
    std::fs::remove_file(node.folder.path().join("token")).unwrap();
    let state = node.folder.path().join("state");
    let remembered = identity::at_start(&endpoint, &own, &state).await.unwrap();
    assert_eq!(remembered.as_str(), "u1");
}

#[tokio::test]
async fn a_token_that_names_no_node_or_another_one_is_told_and_not_taken() {
    for text in [
        "e30.e30.s".to_owned(),
        token("u2", "a").replace("e30", "e31") + ".x",
    ] {
        let fake = Fake::started().await;
        let (folder, mut options) = Node::prepared(&fake);
        std::fs::write(folder.path().join("token"), text).unwrap();
        options.uid = Some("older".parse().unwrap());
        let mut node = Node::with(folder, options);
        until("it is told", || node.metrics.failures("token", "token") > 0).await;
        assert!(node.updates.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_uid_of_the_command_line_is_not_looked_for_in_the_token() {
    let fake = Fake::started().await;
    let (folder, mut options) = Node::prepared(&fake);
    options.uid = None;
    options.trust_dir = Some(folder.path().join("trust"));
    put_key(folder.path(), 1);
    let mut node = Node::with(folder, options);
    // The keys are looked at after the token: what they say is the first news.
    let updates = node.updates.recv().await.unwrap();
    assert!(
        matches!(updates, NodeUpdate::InstalledKeys(_)),
        "{updates:?}"
    );
}

#[tokio::test]
async fn what_lies_in_the_trust_folder_is_told_when_it_is_not_what_was_installed() {
    let fake = Fake::started().await;
    let (folder, mut options) = Node::prepared(&fake);
    options.trust_dir = Some(folder.path().join("trust"));
    let first = put_key(folder.path(), 1);
    options.installed = TrustedKeys::installed([first.as_str()]).unwrap();
    let second = put_key(folder.path(), 2);
    let mut node = Node::with(folder, options);
    let both = TrustedKeys::installed([first.as_str(), &second]).unwrap();
    let updates = node.updates.recv().await.unwrap();
    assert!(
        matches!(&updates, NodeUpdate::InstalledKeys(keys) if *keys == both),
        "{updates:?}"
    );
}

fn put_key(folder: &std::path::Path, seed: u8) -> String {
    let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    let pem = key.to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(folder.join("trust").join(format!("{seed}.pem")), &pem).unwrap();
    pem
}
