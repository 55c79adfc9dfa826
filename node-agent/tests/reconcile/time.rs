//! What hangs on the time, and on the order in which things become true.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::stream;
use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::Activation;
use postern_agent::audit::AuditTrail;
use postern_agent::clock::Clock;
use postern_agent::control::server::Work;
use postern_agent::control::{ControlAnswer, ControlRequest};
use postern_agent::ledger::Entries;
use postern_agent_core::{BlockCause, ScopeStatus};
use postern_cni::protocol::CniResponse;
use postern_crds::node_report::Posture;
use postern_host::error::errno;
use postern_host::ports::Firewall as _;
use postern_host_testing::fake::Call;
use postern_intent::body::{BlockedReason, Class};
use postern_plan::check::Seal;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::fixture::{client, pod, scope_id};
use crate::node::{Node, signer};
use crate::turns::wakers;
use crate::{ALWAYS, count, message, next};

fn left(node: &Node) -> Duration {
    let (_, until) = node.agent.kernel.last.lease.as_ref().expect("a lease");
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
async fn a_slow_commit_of_the_lease_is_reckoned_with_and_not_tried_again_and_again() {
    let mut node = Node::new();
    node.takes(client()).await;
    let commit = Duration::from_millis(1_100);
    node.host.delays(Call::ChangeFirewall, commit);
    // The first slow one is found when it is over; the next ones are expected.
    for changes in [2, 1] {
        node.agent.kernel.last.lease = None;
        node.host.takes_the_calls();
        node.agent.reconcile(Activation::Timer).await;
        let calls = node.host.takes_the_calls();
        assert_eq!(count(&calls, Call::ChangeFirewall), changes, "{calls:?}");
        // A second is kept back, and less than one is cut off. Two commits differ by less than a second.
        let ends = left(&node) + Duration::from_secs(1);
        let valid = node.agent.documents.verified.as_ref().expect("a body");
        let valid = valid.get().not_after.duration_since(Timestamp::now());
        let late = Duration::from_secs(1);
        let early = (valid.unsigned_abs() + late).checked_sub(ends);
        assert!(
            early.is_some_and(|early| early < commit + late),
            "{valid:?} {ends:?}"
        );
        node.agent.reconcile(Activation::Timer).await;
        let calls = node.host.takes_the_calls();
        assert_eq!(count(&calls, Call::ChangeFirewall), 0, "{calls:?}");
    }
}

#[tokio::test]
async fn a_lease_whose_commit_takes_longer_than_the_validity_that_is_left_is_ended() {
    let mut node = Node::new();
    node.puts_body_for(&signer(), client(), SignedDuration::from_secs(5));
    node.agent.take_documents();
    node.runs(Activation::IntentChanged).await;
    assert!(left(&node) <= Duration::from_secs(4));
    // The first commit stalls, and gives a lease that ends by that much too late.
    node.host
        .delays(Call::ChangeFirewall, Duration::from_millis(2_200));
    node.agent.kernel.last.lease = None;
    node.agent.reconcile(Activation::Timer).await;
    assert_eq!(node.agent.kernel.last.lease, None);
    let firewall = node.host.read_firewall().await.unwrap().inet.unwrap();
    assert!(firewall.sets["lease"].elements.is_empty());
}

#[tokio::test]
async fn a_waiting_add_is_never_answered_without_a_seal() {
    let mut node = Node::new();
    node.takes(client()).await;
    let mut answer = node.asks("crawlers", "c", "veth3").await;
    assert!(answer.try_recv().is_err(), "it waits for its class");
    node.loses_nft();
    let listed = next(&client(), |body| {
        let class = Class::Policy { scope: scope_id() };
        body.pods.push(pod("c", class, &["10.244.1.4"]));
    });
    node.takes(listed).await;
    match answer.try_recv() {
        Ok(CniResponse::Refused(refusal)) => {
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

/// Hours by which the wall clock of the test below is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn wall() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(AHEAD.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_and_back_blocks_while_it_is_ahead_and_not_until_that_time() {
    let mut node = Node::new();
    node.agent.clock = Clock::reading(wall, None);
    node.takes(client()).await;
    AHEAD.store(30 * 24, Ordering::Relaxed);
    node.runs(Activation::Timer).await;
    assert_eq!(node.scope().posture, Posture::Sealed);
    AHEAD.store(0, Ordering::Relaxed);
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    let mut node = node.restarts();
    node.starts().await;
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    node.takes(next(&client(), |_| {})).await;
    assert_eq!(
        node.agent.documents.refusals.len(),
        0,
        "{:?}",
        node.agent.documents.refusals
    );
}

#[tokio::test]
async fn root_ends_a_time_that_an_agent_remembered_by_mistake() {
    let mut node = Node::new();
    node.takes(client()).await;
    let month = Timestamp::now() + SignedDuration::from_hours(30 * 24);
    let seen = |entries: &mut Entries| entries.highest_time = Some(month);
    node.agent.memory.ledger.record(seen).unwrap();
    let mut node = node.restarts();
    node.agent.clock = Clock::new(node.agent.memory.ledger.entries().highest_time);
    node.starts().await;
    node.runs(Activation::Timer).await;
    assert_eq!(node.scope().posture, Posture::Sealed);
    let log = node.file("audit.jsonl");
    node.agent.output.audit = AuditTrail::open(Some(&log)).unwrap();
    node.agent.trust_clock("the BIOS date was wrong").unwrap();
    node.runs(Activation::Asked).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    assert!(node.agent.memory.ledger.entries().highest_time < Some(month));
    let lines = std::fs::read_to_string(log).unwrap();
    let lines = lines.lines().map(serde_json::from_str::<Value>);
    let trusted: Vec<Value> = lines
        .map(Result::unwrap)
        .filter(|line| line["event"] == "ClockTrusted")
        .collect();
    assert_eq!(trusted.len(), 1, "{trusted:?}");
    assert_eq!(trusted[0]["kind"], "clock");
    // From which time, and why; stamped with the time that counts now.
    let said = trusted[0]["message"].as_str().unwrap();
    let (from, why) = said.split_once(": ").unwrap();
    let from: Timestamp = from.strip_prefix("from ").unwrap().parse().unwrap();
    assert!(from >= month, "{said}");
    assert_eq!(why, "the BIOS date was wrong");
    let stamped: Timestamp = trusted[0]["time"].as_str().unwrap().parse().unwrap();
    assert!(stamped < month, "{stamped}");
}

#[tokio::test]
async fn the_clock_is_trusted_when_root_asks_the_running_agent_for_it() {
    let mut node = Node::new();
    node.takes(client()).await;
    let month = Timestamp::now() + SignedDuration::from_hours(30 * 24);
    node.agent.clock = Clock::new(Some(month));
    // The node's own folder goes with its loop.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    node.agent.output.audit = AuditTrail::open(Some(&log)).unwrap();
    let (queue, work) = mpsc::channel(1);
    let (send, receive) = oneshot::channel();
    let reason = "the BIOS date was wrong".to_owned();
    let asked = Work::Ask(ControlRequest::TrustClock { reason }, send);
    queue.try_send(asked).unwrap();
    let answer = tokio::select! {
        answer = receive => answer.unwrap(),
        () = node.goes_on(wakers(work, stream::pending())) => panic!("the loop ended"),
    };
    assert_eq!(answer, ControlAnswer::done());
    let lines = std::fs::read_to_string(log).unwrap();
    assert!(lines.contains("ClockTrusted"), "{lines}");
}

#[tokio::test]
async fn a_lease_that_cannot_be_ended_is_never_called_blocked() {
    let mut node = Node::new();
    node.takes(client()).await;
    let later = Timestamp::now() + SignedDuration::from_hours(2);
    node.agent.clock = Clock::new(Some(later));
    node.host
        .fails(Call::ChangeFirewall, 1, ALWAYS, errno::EINVAL);
    node.runs(Activation::Timer).await;
    let could_not_block = ScopeStatus::Blocked {
        cause: BlockCause::Expired,
        seal: Seal::NotSealed,
    };
    assert_eq!(node.track().status, could_not_block);
    assert_eq!(node.scope().posture, Posture::TunnelOnly, "past its time");
    let pods = node.scope().pods.unwrap();
    assert_eq!((pods.blocked, pods.unenforceable), (0, 1));
    node.host.fails(Call::ChangeFirewall, 1, 0, errno::EINVAL);
    node.runs(Activation::Timer).await;
    assert_eq!(
        node.track().status,
        ScopeStatus::Blocked {
            cause: BlockCause::Expired,
            seal: Seal::Sealed,
        }
    );
    assert_eq!(node.scope().posture, Posture::Sealed);
}

#[tokio::test]
async fn the_lease_of_a_former_guard_ends_with_the_former_body() {
    let mut node = Node::new();
    node.takes(client()).await;
    let stricter = next(&client(), |body| {
        body.not_after = Timestamp::now() + SignedDuration::from_hours(9);
        body.pods[1].class = Class::Blocked {
            reason: BlockedReason::NoExit,
        };
    });
    // The change of the guard is refused; what ends the lease is not.
    node.host.fails(Call::ChangeFirewall, 1, 1, errno::EINVAL);
    let later = Timestamp::now() + SignedDuration::from_hours(2);
    node.agent.clock = Clock::new(Some(later));
    node.takes(stricter).await;
    let firewall = node.host.read_firewall().await.unwrap().inet.unwrap();
    assert!(
        firewall.sets["lease"].elements.is_empty(),
        "{:?}",
        firewall.sets["lease"]
    );
}
