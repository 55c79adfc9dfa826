//! Which egress addresses the loop orders.

use std::num::NonZeroU32;
use std::time::Duration;

use futures::stream;
use postern_agent::clock::Clock;
use postern_agent::egress::{self, Confirmations};
use postern_host::EgressAddresses as _;
use postern_host::error::errno;
use postern_host_testing::fake::Call;
use postern_intent::body::EgressTerm;
use postern_plan::host::EgressAddress;

use crate::ALWAYS;
use crate::fixture::{gateway, word};
use crate::node::Node;

fn on(device: &str, address: &str) -> EgressAddress {
    EgressAddress {
        device: word(device),
        address: word(address),
    }
}

/// Waits until the host has these egress addresses and no others.
async fn has(node: &Node, wanted: &[EgressAddress]) {
    let mut changes = node.agent.egress.changes();
    let is_it = |_: &_| node.host.egress().keys().eq(wanted);
    let found = tokio::time::timeout(Duration::from_secs(20), changes.wait_for(is_it)).await;
    let there = node.host.egress();
    assert!(found.is_ok(), "{there:?}");
}

#[tokio::test]
async fn an_exit_whose_uplink_is_not_known_keeps_its_addresses_and_holds_back_no_other_exit() {
    let mut node = Node::new();
    let (kept, other) = (on("eth0", "203.0.113.10"), on("eth0", "203.0.113.20"));
    let taken_away = on("eth0", "203.0.113.30");
    let mut body = gateway(&["203.0.113.10", "203.0.113.11"]);
    body.nat[0].egress_term = EgressTerm::Intent;
    let mut named = body.nat[0].clone();
    named.exit = word("us");
    named.uplink = Some(word("eth0"));
    named.egress = [word("203.0.113.20")].into();
    body.nat.push(named);
    // An agent before this one gave them.
    let seconds = NonZeroU32::new(20).unwrap();
    for address in [&kept, &taken_away] {
        node.host.keep_egress(address, seconds).await.unwrap();
    }
    node.host
        .fails(Call::DefaultUplinks, 1, ALWAYS, errno::EINTR);
    let task = egress::start(
        node.host.clone(),
        Clock::new(None),
        Confirmations::Folder,
        stream::pending(),
    );
    node.agent.egress = task;
    let mut changes = node.agent.egress.changes();
    changes
        .wait_for(|found| found.there.is_some())
        .await
        .unwrap();
    node.takes(body).await;
    has(&node, &[kept.clone(), other.clone()]).await;
    // The second address of the first exit comes when the uplink is read.
    node.host.fails(Call::DefaultUplinks, 1, 0, errno::EINTR);
    node.runs(postern_agent::agent::Activation::Timer).await;
    has(&node, &[kept, on("eth0", "203.0.113.11"), other]).await;
}
