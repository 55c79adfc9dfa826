//! Releases: what is let go stays so over a restart, what was taken back stays so too.

use std::net::SocketAddr;

use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::Activation;
use postern_agent::cleanup::cleanup;
use postern_agent::inbox::DocumentKind;
use postern_agent_core::ScopeStatus;
use postern_host::error::errno;
use postern_host::ports::{Firewall as _, Links as _, TransportProtocol};
use postern_host_testing::fake::{Call, Flow};
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
async fn the_file_of_a_release_that_an_intent_ended_is_no_probes_at_a_restart() {
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

/// A flow that this address opened to the world.
pub(crate) fn flow_of(address: &str) -> Flow {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (client, world) = (
        socket(&format!("{address}:40000")),
        socket("203.0.113.9:443"),
    );
    Flow {
        protocol: TransportProtocol::Tcp,
        original: (client, world),
        reply: (world, client),
    }
}

#[tokio::test]
async fn the_flows_of_former_clients_go_before_the_guard_and_no_other_ones() {
    let mut node = Node::new();
    node.takes(client()).await;
    let (former, free) = (flow_of("198.18.0.9"), flow_of("10.244.1.77"));
    node.host.has_flow(former);
    node.host.has_flow(free.clone());
    node.host.takes_the_calls();
    node.agent.release_by_root("a case").unwrap();
    node.runs(Activation::Asked).await;
    assert_eq!(node.host.flows(), [free]);
    let calls = node.host.takes_the_calls();
    let first = |call: Call| calls.iter().position(|one| *one == call).unwrap();
    assert!(
        first(Call::CutFlows) < first(Call::ChangeFirewall),
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_node_that_cannot_ask_for_flows_is_cleaned_up_all_the_same() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.fails(Call::CutFlows, 1, ALWAYS, errno::EINVAL);
    let (state, run) = (node.file(""), node.file("run"));
    let done = cleanup(&node.host, &state, &run, Some("a case")).await;
    let done = done.unwrap();
    assert!(
        done.iter()
            .any(|line| line.starts_with("not done: cut flows of 198.18.0.0/15")),
        "{done:?}"
    );
    assert!(node.host.read_firewall().await.unwrap().inet.is_none());
}
