//! What hangs on the time, and on the order in which things become true.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::Activation;
use postern_agent::clock::Clock;
use postern_cni::protocol::Response;
use postern_host::error::errno;
use postern_host_testing::fake::Call;
use postern_intent::body::Class;

use crate::fixture::{client, pod, scope_id};
use crate::node::Node;
use crate::{ALWAYS, count, message, next};

fn left(node: &Node) -> Duration {
    let (_, until) = node.agent.last.lease.as_ref().expect("a lease");
    until.saturating_duration_since(Instant::now())
}

#[tokio::test]
async fn the_lease_is_aimed_anew_when_a_clock_is_put_right() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert!(left(&node) > Duration::from_secs(3500), "an hour");
    node.host.takes_the_calls();
    node.runs(Activation::Timer).await;
    let calls = node.host.takes_the_calls();
    assert_eq!(count(&calls, Call::ChangeFirewall), 0, "it stands as it is");

    let later = Timestamp::now() + SignedDuration::from_mins(30);
    node.agent.clock = Clock::new(Some(later));
    node.runs(Activation::Timer).await;
    assert!(left(&node) < Duration::from_secs(1810), "{:?}", left(&node));
    let calls = node.host.takes_the_calls();
    assert_eq!(count(&calls, Call::ChangeFirewall), 1, "{calls:?}");
}

#[tokio::test]
async fn a_waiting_add_is_never_answered_without_a_seal() {
    let mut node = Node::new();
    node.takes(client()).await;
    let mut answer = node.asks("crawlers", "c", "veth3").await;
    assert!(answer.try_recv().is_err(), "it waits for its class");
    node.host
        .fails(Call::ReadFirewall, 1, ALWAYS, errno::EOPNOTSUPP);
    node.host
        .fails(Call::ChangeFirewall, 1, ALWAYS, errno::EOPNOTSUPP);
    let listed = next(&client(), |body| {
        let class = Class::Policy { scope: scope_id() };
        body.pods.push(pod("c", class, &["10.244.1.4"]));
    });
    node.takes(listed).await;
    match answer.try_recv() {
        Ok(Response::Refused(refusal)) => {
            assert_eq!((refusal.code, refusal.reason.as_str()), (11, "NotSealed"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pod_that_is_older_than_the_plugin_is_counted_as_unbound() {
    let mut node = Node::new();
    node.takes(client()).await;
    let report = node.reports("SourceBinding", "False", "Unbound");
    let said = message(&report, "SourceBinding");
    assert!(said.contains("crawlers/a (and 1 more pods)"), "{said}");
    for (name, link) in [("a", "veth1"), ("b", "veth2")] {
        node.adds("crawlers", name, link).await;
    }
    // Their bindings say IPv4 only, and the intent goes on to speak for the other family.
    let four = next(&client(), |body| {
        for pod in &mut body.pods {
            pod.addresses.retain(|address| address.is_ipv4());
        }
    });
    node.takes(four).await;
    node.reports("SourceBinding", "True", "Bound");
}
