//! A node goes on to the next gateway by the tunnel alone, before it reads its host, and an agent that restarts stays there.

use std::time::{Duration, Instant};

use futures::stream;
use postern_agent::agent::Activation;
use postern_agent::agent::run::Wakers;
use postern_agent::probe::PublishedProbes;
use postern_agent_core::{GatewayAnswer, GatewayReach};
use postern_host_testing::fake::{Call, FakeHost};
use postern_intent::body::{ExitGateway, Peer, PeerEnd};
use postern_intent::{Body, NodeName, WgKey};
use tokio::sync::{mpsc, watch};

use crate::fixture::client;
use crate::node::Node;
use crate::turns::wakers;

const DEADLINE: Duration = Duration::from_secs(20);
/// Long enough for a loop that has nothing to do to wait.
const PAUSE: Duration = Duration::from_millis(20);

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn key(byte: u8) -> WgKey {
    WgKey::from_bytes([byte; 32]).unwrap()
}

/// The client of the fixture with a second gateway, whose key is 8.
fn with_two_gateways() -> Body {
    let mut body = client();
    let first = body.tunnels[0].peers[0].clone();
    body.tunnels[0].peers.push(Peer {
        at: PeerEnd::Node { name: name("gw-2") },
        public_key: key(8),
        endpoint: Some("192.168.10.22:51850".parse().unwrap()),
        ..first
    });
    body.routes[0].gateways.push(ExitGateway {
        node: name("gw-2"),
        addresses: ["198.18.0.2", "fd64::2"]
            .map(|text| text.parse().unwrap())
            .into(),
    });
    body
}

/// The keys of the peers that have more than their own addresses.
async fn in_use(host: &FakeHost) -> Vec<WgKey> {
    use postern_host::Tunnels as _;
    let device = "pst-c-eu".parse().unwrap();
    let tunnel = host.read_tunnel(&device).await.unwrap().unwrap();
    let peers = tunnel.peers.into_iter().map(|seen| seen.peer);
    let wide = peers.filter(|peer| {
        let mut allowed = peer.allowed_ips.iter();
        allowed.any(|range| range.net().prefix_len() == 0)
    });
    wide.map(|peer| peer.public_key).collect()
}

/// What probes publish: the first gateway is silent, and the other one is as given.
fn silent_first(other: GatewayReach) -> PublishedProbes {
    let mut published = PublishedProbes::default();
    for (gateway, reach) in [("gw", GatewayReach::Silent), ("gw-2", other)] {
        let found = GatewayAnswer {
            reach,
            ..GatewayAnswer::default()
        };
        let of = ("eu".parse().unwrap(), name(gateway));
        published.results.gateways.insert(of, found);
    }
    published
}

#[tokio::test]
async fn a_lost_gateway_is_left_before_anything_is_read_and_a_late_one_is_not_chosen() {
    let mut node = Node::new();
    node.takes(with_two_gateways()).await;
    let host = node.host.clone();
    assert_eq!(in_use(&host).await, [key(7)]);
    let (probe, probes) = watch::channel(PublishedProbes::default());
    let (_queue, work) = mpsc::channel(1);
    let wakers = Wakers {
        probes,
        ..wakers(work, stream::pending())
    };
    let seen = async {
        tokio::time::sleep(PAUSE).await;
        probe.send_replace(silent_first(GatewayReach::Late));
        // The run that the changed results ask for.
        while !host.takes_the_calls().contains(&Call::ReadFirewall) {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(PAUSE).await;
        assert_eq!(in_use(&host).await, [key(7)]);
        host.takes_the_calls();
        let since = Instant::now();
        probe.send_replace(silent_first(GatewayReach::Answers { since }));
        let mut calls = Vec::new();
        while !calls.contains(&Call::ReadFirewall) {
            tokio::time::sleep(PAUSE).await;
            calls.extend(host.takes_the_calls());
        }
        assert_eq!(calls.first(), Some(&Call::ConfigureTunnel), "{calls:?}");
        assert_eq!(in_use(&host).await, [key(8)]);
    };
    tokio::select! {
        seen = tokio::time::timeout(DEADLINE, seen) => seen.expect("nothing was seen"),
        () = node.goes_on(wakers) => panic!("the loop ended"),
    }
}

#[tokio::test]
async fn an_agent_that_restarts_stays_with_the_gateway_that_the_kernel_carries() {
    let mut node = Node::new();
    node.takes(with_two_gateways()).await;
    assert_eq!(in_use(&node.host).await, [key(7)]);
    let since = Instant::now();
    node.agent.kernel.last.probes = silent_first(GatewayReach::Answers { since }).results;
    node.runs(Activation::ProbeChanged).await;
    assert_eq!(in_use(&node.host).await, [key(8)]);
    let mut node = node.restarts();
    node.starts().await;
    node.runs(Activation::Timer).await;
    assert_eq!(in_use(&node.host).await, [key(8)], "the body names 7 first");
    assert_eq!(node.agent.output.counters.get("repairs"), None);
}
