//! Token and trust folder: what they say anew reaches the agent.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use postern_agent::agent::News;
use postern_agent::courier::identity;
use postern_intent::KeySet;

use crate::fake::Fake;
use crate::node::{Node, token, until};

#[tokio::test]
async fn the_token_says_which_node_this_is_and_that_is_remembered() {
    let fake = Fake::started().await;
    let (folder, mut orders) = Node::prepared(&fake);
    orders.uid = Some("older".parse().unwrap());
    let (way, own) = (orders.way.clone(), orders.node.clone());
    let mut node = Node::with(folder, orders);
    let news = node.news.recv().await.unwrap();
    assert!(
        matches!(&news, News::Node(uid) if uid.as_str() == "u1"),
        "{news:?}"
    );
    std::fs::remove_file(node.folder.path().join("token")).unwrap();
    let state = node.folder.path().join("state");
    let remembered = identity::at_start(&way, &own, &state).await.unwrap();
    assert_eq!(remembered.as_str(), "u1");
}

#[tokio::test]
async fn a_token_that_names_no_node_or_another_one_is_told_and_not_taken() {
    for text in [
        "e30.e30.s".to_owned(),
        token("u2", "a").replace("e30", "e31") + ".x",
    ] {
        let fake = Fake::started().await;
        let (folder, mut orders) = Node::prepared(&fake);
        std::fs::write(folder.path().join("token"), text).unwrap();
        orders.uid = Some("older".parse().unwrap());
        let mut node = Node::with(folder, orders);
        until("it is told", || node.numbers.failures("token", "token") > 0).await;
        assert!(node.news.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_uid_of_the_command_line_is_not_looked_for_in_the_token() {
    let fake = Fake::started().await;
    let (folder, mut orders) = Node::prepared(&fake);
    orders.uid = None;
    orders.trust_dir = Some(folder.path().join("trust"));
    put_key(folder.path(), 1);
    let mut node = Node::with(folder, orders);
    // The keys are looked at after the token: what they say is the first news.
    let news = node.news.recv().await.unwrap();
    assert!(matches!(news, News::InstalledKeys(_)), "{news:?}");
}

#[tokio::test]
async fn what_lies_in_the_trust_folder_is_told_when_it_is_not_what_was_installed() {
    let fake = Fake::started().await;
    let (folder, mut orders) = Node::prepared(&fake);
    orders.trust_dir = Some(folder.path().join("trust"));
    let first = put_key(folder.path(), 1);
    orders.installed = KeySet::installed([first.as_str()]).unwrap();
    let second = put_key(folder.path(), 2);
    let mut node = Node::with(folder, orders);
    let both = KeySet::installed([first.as_str(), &second]).unwrap();
    let news = node.news.recv().await.unwrap();
    assert!(
        matches!(&news, News::InstalledKeys(keys) if *keys == both),
        "{news:?}"
    );
}

fn put_key(folder: &std::path::Path, seed: u8) -> String {
    let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    let pem = key.to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(folder.join("trust").join(format!("{seed}.pem")), &pem).unwrap();
    pem
}
