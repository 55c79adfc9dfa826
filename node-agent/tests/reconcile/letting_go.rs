//! Releases: what is let go stays so over a restart, what was taken back stays so too.

use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::Activation;
use postern_agent::inbox::DocumentKind;
use postern_agent_core::ScopeStatus;
use postern_host::error::errno;
use postern_host::ports::{Firewall as _, Links as _};
use postern_host_testing::fake::Call;
use postern_intent::Serial;
use postern_intent::sign::{Release, sign_release};
use postern_plan::observed::ObservedFirewall;

use crate::fixture::client;
use crate::node::{Node, signer};
use crate::{ALWAYS, next};

fn put_release(node: &Node, serial: u64) {
    let release = Release {
        node: client().node,
        serial: Serial(serial),
        issued_at: Timestamp::now(),
        not_after: Timestamp::now() + SignedDuration::from_hours(1),
        reason: "a case".to_owned(),
    };
    let envelope = sign_release(&release, &[signer()]).unwrap();
    node.puts(DocumentKind::Release, &envelope);
}

async fn released(serial: u64) -> Node {
    let mut node = Node::new();
    node.takes(client()).await;
    put_release(&node, serial);
    node.agent.take_documents();
    node.runs(Activation::IntentChanged).await;
    assert!(node.agent.is_released() && node.agent.status().released);
    node
}

#[tokio::test]
async fn a_claimed_release_is_not_applied_again_at_a_restart() {
    let mut node = released(2).await;
    node.agent.claim().unwrap();
    node.runs(Activation::Asked).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    let mut node = node.restarts();
    node.starts().await;
    node.runs(Activation::Timer).await;
    assert!(!node.agent.is_released());
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
}

#[tokio::test]
async fn the_file_of_a_release_that_an_intent_ended_is_no_news_at_a_restart() {
    let mut node = released(2).await;
    node.takes(next(&next(&client(), |_| {}), |_| {})).await;
    assert!(!node.agent.is_released());
    let mut node = node.restarts();
    node.starts().await;
    assert!(!node.agent.is_released());
    let refused: Vec<_> = node
        .agent
        .documents
        .refusals
        .iter()
        .map(|one| one.reason)
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    node.reports("Accepted", "True", "Accepted");

    put_release(&node, 2);
    node.agent.take_documents();
    let refused: Vec<_> = node
        .agent
        .documents
        .refusals
        .iter()
        .map(|one| one.reason)
        .collect();
    assert_eq!(refused, ["Replayed"], "another document of that serial");
}

#[tokio::test]
async fn a_node_whose_kernel_has_no_lock_is_released_whole() {
    let mut node = Node::new();
    node.host
        .fails(Call::ListLocks, 1, ALWAYS, errno::EPROTONOSUPPORT);
    node.host
        .fails(Call::AddLock, 1, ALWAYS, errno::EPROTONOSUPPORT);
    node.takes(client()).await;
    node.agent.release_by_root("a case").unwrap();
    node.runs(Activation::Asked).await;
    assert_eq!(node.agent.kernel.last.failures, Vec::new());
    assert!(node.agent.status().released);
    let firewall = node.host.read_firewall().await.unwrap();
    assert_eq!(firewall, ObservedFirewall::default());
    let links = node.host.list_links().await.unwrap();
    assert!(links.iter().all(|link| !link.name.starts_with("pst-")));
}
