//! Steps that fail: what they keep from happening, how often they are tried, and what is said of them.

use std::net::SocketAddr;

use postern_agent::agent::Activation;
use postern_host::error::errno;
use postern_host::ports::Protocol;
use postern_host_testing::contract::OtherProgram as _;
use postern_host_testing::fake::{Call, Flow};
use postern_intent::body::{BlockedReason, Class};
use postern_plan::host::Family;
use postern_plan::machine::State;

use crate::fixture::client;
use crate::node::Node;
use crate::{ALWAYS, count, message, next};

/// As of a file system that is mounted read-only (`errno(3)`).
const EROFS: i32 = 30;

#[tokio::test]
async fn a_kernel_without_ipv6_is_asked_for_nothing_of_it() {
    let mut node = Node::new();
    node.host.has_no(Family::V6);
    node.takes(client()).await;
    assert_eq!(node.agent.last.failures, Vec::new());
    assert_eq!(node.track().state, State::Enforcing);
    let report = node.reports("Programmed", "True", "Programmed");
    assert!(!report.capabilities.unwrap().ipv6);
    let desired = &node.agent.desired;
    assert!(desired.ruleset.inet.sets.contains_key("from6"), "guarded");
    let mut devices = desired.devices.iter().map(|setting| setting.key.family());
    assert!(devices.all(|family| family == Family::V4));
}

#[tokio::test]
async fn a_step_that_always_fails_is_not_tried_at_every_event_that_it_makes() {
    let mut node = Node::new();
    node.host.fails(Call::SetDevice, 1, ALWAYS, EROFS);
    node.takes(client()).await;
    node.host.takes_the_calls();
    for _ in 0..50 {
        node.agent.reconcile(Activation::HostChanged).await;
    }
    let calls = node.host.takes_the_calls();
    let tried = count(&calls, Call::SetDevice);
    assert!(tried <= 10, "{tried} of 50: pauses double");
    let report = node.reports("Programmed", "False", "NoTunnel");
    let said = message(&report, "Programmed");
    assert!(said.contains("pst-c-eu"), "it is told all the time: {said}");
    node.agent.reconcile(Activation::Timer).await;
    let calls = node.host.takes_the_calls();
    assert_eq!(count(&calls, Call::SetDevice), 1, "timers have a pace");
    node.host.fails(Call::SetDevice, 1, 0, EROFS);
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().state, State::Enforcing);
}

#[tokio::test]
async fn what_blocks_is_tried_again_within_a_second_of_events_and_no_oftener_than_it_should() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.fails(Call::AddLock, 1, ALWAYS, errno::ENOMEM);
    let all = postern_host::ports::Locks::list_locks(&node.host)
        .await
        .unwrap();
    postern_host::ports::Locks::remove_lock(&node.host, all.first().unwrap())
        .await
        .unwrap();
    node.host.takes_the_calls();
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        node.agent.reconcile(Activation::HostChanged).await;
    }
    let seconds = begun.elapsed().as_secs() as usize;
    let tried = count(&node.host.takes_the_calls(), Call::AddLock);
    // Pauses double from 100 ms and stay at a second, so that a busy machine only sees more of them.
    assert!((1..=6 + seconds).contains(&tried), "{tried} in {seconds} s");
}

fn flow() -> Flow {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (pod, world) = (socket("10.244.1.3:40000"), socket("203.0.113.9:443"));
    Flow {
        protocol: Protocol::Tcp,
        original: (pod, world),
        reply: (world, pod),
    }
}

#[tokio::test]
async fn a_cut_that_failed_is_owed_told_and_made_good_before_tunnels_are_made() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.has_flow(flow());
    node.host.fails(Call::CutFlows, 1, 5, errno::ENOBUFS);
    let stricter = next(&client(), |body| {
        body.pods[1].class = Class::Blocked {
            reason: BlockedReason::NoExit,
        };
    });
    node.takes(stricter).await;
    assert_eq!(node.host.flows(), [flow()]);
    let report = node.reports("Programmed", "False", "FlowsNotCut");
    let said = message(&report, "Programmed");
    assert!(said.contains("10.244.1.3"), "{said}");
    node.reports("FailClosed", "True", "Sealed");

    node.host.removes_link("pst-c-eu").await;
    node.runs(Activation::Retry).await;
    node.host.takes_the_calls();
    node.host.removes_link("pst-c-eu").await;
    node.agent.owed_cuts.insert("10.244.1.3".parse().unwrap());
    node.agent.reconcile(Activation::Retry).await;
    let calls = node.host.takes_the_calls();
    let at = |call: Call| calls.iter().position(|made| *made == call).unwrap();
    assert!(at(Call::CutFlows) < at(Call::AddLink), "{calls:?}");
    assert_eq!(node.host.flows(), []);
    node.runs(Activation::Retry).await;
    node.reports("Programmed", "True", "Programmed");
}

#[tokio::test]
async fn a_binding_that_comes_while_a_cut_is_owed_pays_it_too() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.has_flow(flow());
    node.agent.owed_cuts.insert("10.244.1.3".parse().unwrap());
    node.adds("crawlers", "a", "veth1").await;
    assert_eq!(node.host.flows(), []);
    assert!(node.agent.owed_cuts.is_empty());
}
