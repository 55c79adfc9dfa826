//! A tunnel whose other end is silent gets a new session, unless another program changed the tunnel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::stream;
use postern_agent::agent::run::Wakers;
use postern_agent::agent::{Activation, NodeUpdate};
use postern_agent::probe::{PublishedProbes, Silence};
use postern_agent::report::LatestReport;
use postern_host::Tunnels;
use postern_host::error::errno;
use postern_host_testing::fake::Call;
use postern_intent::IfName;
use postern_telemetry::Health;
use tokio::sync::{mpsc, watch};

use crate::fixture::client;
use crate::node::Node;
use crate::{ALWAYS, count};

/// So long that no timer of a case wakes the loop.
const CHECK: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(20);
/// Something else that the probes find at the same time.
const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));

fn device() -> IfName {
    "pst-c-eu".parse().unwrap()
}

type Reports = watch::Receiver<LatestReport>;

/// A counter of the report that the loop has published.
fn counter(reports: &Reports, name: &str) -> u64 {
    let report = reports.borrow().clone();
    let counters = report.unwrap().status.clone().unwrap().counters;
    counters.get(name).copied().unwrap_or_default()
}

/// Once the loop waits, something is done; then the probes repeat that the tunnel is silent until that is seen. The
/// answer is how many repairs are counted.
async fn repairs(node: Node, act: impl AsyncFnOnce(), is_seen: impl Fn(&Reports) -> bool) -> u64 {
    let reports = node.reports.clone();
    let (probe, probes) = watch::channel(PublishedProbes::default());
    let (_queue, work) = mpsc::channel(1);
    let health = Health::default();
    // As of a loop that has not turned for too long: it lives again once it waits.
    health.heartbeat(Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(2)).await;
    let wakers = Wakers {
        probes,
        uplinks: postern_agent::isolation::IsolationHandle::absent().changes(),
        egress: postern_agent::egress::EgressHandle::absent().changes(),
        first_look: Duration::ZERO,
        work,
        host: stream::pending(),
        updates: mpsc::channel(1).1,
        health: health.clone(),
        check: CHECK,
    };
    let counted = async {
        let pause = Duration::from_millis(20);
        while !health.is_alive() {
            tokio::time::sleep(pause).await;
        }
        act().await;
        let mut seen = false;
        // A report that counts a renewal was written after it, and changed results of probes bring one.
        while !seen || counter(&reports, "sessions_renewed") == 0 {
            seen |= is_seen(&reports);
            probe.send_modify(|news| {
                news.lost = [(device(), Silence::AfterAnswers)].into();
                news.round += 1;
                let port = 53 + u16::try_from(news.round % 2).unwrap();
                news.results.own_resolvers = vec![SocketAddr::new(RESOLVER, port)];
            });
            tokio::time::sleep(pause).await;
        }
        counter(&reports, "repairs")
    };
    tokio::select! {
        repairs = tokio::time::timeout(DEADLINE, counted) => repairs.expect("nothing was seen"),
        () = node.goes_on(wakers) => panic!("the loop ended"),
    }
}

#[tokio::test]
async fn a_silent_tunnel_that_is_as_it_was_left_gets_a_new_session_which_is_no_repair() {
    let mut node = Node::new();
    node.takes(client()).await;
    let host = node.host.clone();
    host.takes_the_calls();
    let is_renewed = |_: &Reports| count(&host.takes_the_calls(), Call::RemovePeer) > 0;
    assert_eq!(repairs(node, async || {}, is_renewed).await, 0);
}

#[tokio::test]
async fn a_renewal_that_fails_halfway_is_put_right_and_is_no_repair() {
    let mut node = Node::new();
    node.takes(client()).await;
    let host = node.host.clone();
    let peers = host.read_tunnel(&device()).await.unwrap().unwrap().peers;
    host.fails(Call::ConfigureTunnel, 1, 1, errno::EBUSY);
    host.takes_the_calls();
    // The renewal, the run that puts its peers back, and the next renewal.
    let seen = std::cell::Cell::new(0);
    let is_over = |_: &Reports| {
        let calls = count(&host.takes_the_calls(), Call::ConfigureTunnel);
        seen.set(seen.get() + calls);
        seen.get() >= 3
    };
    assert_eq!(repairs(node, async || {}, is_over).await, 0);
    let left = host.read_tunnel(&device()).await.unwrap().unwrap().peers;
    assert_eq!(left.len(), peers.len());
}

#[tokio::test]
async fn a_peer_that_somebody_removed_is_a_repair_and_no_renewal() {
    let mut node = Node::new();
    node.takes(client()).await;
    let host = node.host.clone();
    let peers = host.read_tunnel(&device()).await.unwrap().unwrap().peers;
    let key = peers[0].peer.public_key;
    let remove = async || host.remove_peer(&device(), &key).await.unwrap();
    let is_counted = |reports: &Reports| counter(reports, "repairs") > 0;
    assert_eq!(repairs(node, remove, is_counted).await, 1);
    let repaired = host.read_tunnel(&device()).await.unwrap().unwrap();
    assert_eq!(repaired.peers.len(), peers.len());
}

#[tokio::test]
async fn a_device_whose_process_is_back_is_configured_at_once_however_long_its_step_waits() {
    let mut node = Node::new();
    node.takes(client()).await;
    let host = node.host.clone();
    let peers = host.read_tunnel(&device()).await.unwrap().unwrap().peers;
    host.fails(Call::ConfigureTunnel, 1, ALWAYS, errno::EBUSY);
    for peer in &peers {
        let key = peer.peer.public_key;
        host.remove_peer(&device(), &key).await.unwrap();
    }
    // Each failure doubles the pause.
    for _ in 0..8 {
        node.agent.reconcile(Activation::Retry).await;
    }
    host.fails(Call::ConfigureTunnel, 1, 0, errno::EBUSY);
    node.agent.reconcile(Activation::HostChanged).await;
    let waiting = host.read_tunnel(&device()).await.unwrap().unwrap();
    assert!(waiting.peers.is_empty(), "an event ends no pause");
    let activation = node.agent.take_update(NodeUpdate::TunnelServed);
    node.agent.reconcile(activation).await;
    let served = host.read_tunnel(&device()).await.unwrap().unwrap();
    assert_eq!(served.peers.len(), peers.len());
}
