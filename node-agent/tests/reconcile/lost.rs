//! An exit whose other end does not answer any more.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_agent::agent::Activation;
use postern_agent::clock::Clock;
use postern_agent_core::{BlockCause, ExitLoss, ScopeStatus};
use postern_crds::node_report::Posture;
use postern_host::error::errno;
use postern_host_testing::fake::Call;
use postern_intent::body::{BlockedReason, EgressPath, ScopeFailureMode};
use postern_intent::{Body, IfName};
use postern_plan::check::Seal;

use crate::fixture::{client, scope_id, word};
use crate::node::Node;
use crate::{ALWAYS, next};

fn device() -> IfName {
    word("pst-c-eu")
}

/// A handshake as the device tells it.
fn hears(node: &Node, at: Timestamp) {
    node.host.changes_peers(&device(), |peers| {
        peers[0].last_handshake = Some(at);
    });
}

fn sends(node: &Node, bytes: u64) {
    node.host
        .changes_peers(&device(), |peers| peers[0].sent += bytes);
}

/// Lets time pass for what was heard.
fn passes(node: &mut Node, time: Duration) {
    let heard = node
        .agent
        .kernel
        .last
        .tunnels
        .0
        .get_mut(&device())
        .expect("it listens");
    heard.since = heard.since.checked_sub(time).expect("a time");
    if let Some((at, _)) = &mut heard.expired {
        *at = at.checked_sub(time).expect("a time");
    }
}

async fn hearing(body: Body) -> Node {
    let mut node = Node::new();
    node.takes(body).await;
    hears(&node, Timestamp::now());
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    node
}

const LOST: ScopeStatus = ScopeStatus::Blocked {
    cause: BlockCause::ExitLost,
    seal: Seal::Sealed,
};

#[tokio::test]
async fn an_exit_that_leaves_keepalives_unanswered_for_longer_than_a_session_lives_is_lost() {
    let mut node = hearing(client()).await;
    passes(&mut node, Duration::from_secs(179));
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    passes(&mut node, Duration::from_secs(2));
    node.runs(Activation::Timer).await;
    assert_eq!(
        node.track().status,
        ScopeStatus::Enforcing,
        "a keepalive is due"
    );
    passes(&mut node, Duration::from_secs(11));
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, LOST);
    assert_eq!(node.scope().reason.as_deref(), Some("ExitLost"));
    assert_eq!(
        node.scope().posture,
        Posture::TunnelOnly,
        "the chain still lets packets into the device"
    );
    assert!(!node.agent.status().exits[0].healthy);

    hears(&node, Timestamp::now());
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    assert!(node.agent.status().exits[0].healthy);
}

#[tokio::test]
async fn an_exit_that_never_answered_is_lost_too() {
    let mut node = Node::new();
    node.takes(client()).await;
    for _ in 0..2 {
        passes(&mut node, Duration::from_secs(181));
        node.runs(Activation::Timer).await;
    }
    assert_eq!(node.track().status, LOST);
}

#[tokio::test]
async fn an_idle_exit_may_be_silent_and_one_that_is_asked_may_not() {
    let quiet = next(&client(), |body| {
        body.tunnels[0].peers[0].keepalive_seconds = None;
    });
    let mut node = hearing(quiet).await;
    for _ in 0..3 {
        passes(&mut node, Duration::from_secs(1000));
        node.runs(Activation::Timer).await;
        assert_eq!(node.track().status, ScopeStatus::Enforcing);
    }
    sends(&node, 148);
    passes(&mut node, Duration::from_secs(6));
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, LOST);
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, LOST, "until it is heard of");
}

#[tokio::test]
async fn a_wall_clock_that_is_set_loses_no_exit_and_opens_none_before_its_time() {
    let mut node = hearing(open()).await;
    let ahead = Timestamp::now() + SignedDuration::from_mins(45);
    node.agent.clock = Clock::new(Some(ahead));
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);

    node.host.kills_the_tunnel_process();
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, LOST);
    node.agent.clock = Clock::new(Some(ahead + SignedDuration::from_mins(10)));
    node.runs(Activation::Timer).await;
    assert_eq!(
        node.track().status,
        LOST,
        "1800 s of nobody's clock have passed"
    );

    fails_open(&mut node).await;
    assert_eq!(node.scope().posture, Posture::Open);
}

/// A body whose scope may fail open after half an hour.
fn open() -> Body {
    next(&client(), |body| {
        body.firewall[0].failure = ScopeFailureMode::Open {
            after_seconds: 1800,
        };
    })
}

/// Lets a lost exit be lost for longer than the body allows to wait.
async fn fails_open(node: &mut Node) {
    let track = node.agent.kernel.scopes.get_mut(&scope_id()).unwrap();
    let since = Instant::now().checked_sub(Duration::from_secs(1801));
    let since = since.expect("a time");
    track.loss = ExitLoss::Lost { since };
    node.runs(Activation::Timer).await;
    assert!(matches!(
        node.track().status,
        ScopeStatus::FailedOpen { .. }
    ));
}

#[tokio::test]
async fn an_uplink_that_nft_refuses_to_close_is_open_in_the_report_until_it_is_closed() {
    let mut node = hearing(open()).await;
    node.host.kills_the_tunnel_process();
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, LOST);
    fails_open(&mut node).await;
    node.host
        .fails(Call::ChangeFirewall, 1, ALWAYS, errno::EINVAL);
    node.host
        .starts_the_tunnel_process(node.agent.memory.key.public);
    node.runs(Activation::Timer).await;
    hears(&node, Timestamp::now());
    for _ in 0..2 {
        node.runs(Activation::Timer).await;
        assert!(matches!(
            node.track().status,
            ScopeStatus::FailedOpen { .. }
        ));
        assert_eq!(node.scope().posture, Posture::Open);
        assert_eq!(node.scope().pods.unwrap().enforced, 0);
    }
    node.host.fails(Call::ChangeFirewall, 1, 0, errno::EINVAL);
    node.runs(Activation::Timer).await;
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
}

#[tokio::test]
async fn a_scope_that_the_body_blocks_stays_closed_where_its_exit_cannot_be_read() {
    let mut node = hearing(open()).await;
    node.host.kills_the_tunnel_process();
    node.runs(Activation::Timer).await;
    fails_open(&mut node).await;
    node.host.fails(Call::ListLinks, 1, ALWAYS, errno::EINTR);
    let blocked = next(&open(), |body| {
        body.firewall[0].way = EgressPath::Blocked {
            reason: BlockedReason::NoExit,
        };
    });
    node.takes(blocked).await;
    assert_eq!(node.scope().posture, Posture::Sealed);
}
