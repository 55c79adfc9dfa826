//! What a node cannot do: no tunnel, no guard, a path past the guard. What can still be blocked is blocked, what cannot
//! is never called so, and neighbours stay as they were.

use postern_agent::agent::Activation;
use postern_agent_core::{BlockCause, ScopeStatus};
use postern_cni::protocol::CniResponse;
use postern_crds::node_report::{Posture, ScopePods, ScopeState, TunnelKind};
use postern_host::error::errno;
use postern_host::ports::{Links as _, Locks as _};
use postern_host::{Bypass, Direction};
use postern_host_testing::contract::OtherProgram as _;
use postern_host_testing::fake::Call;
use postern_intent::Body;
use postern_plan::check::Seal;

use crate::fixture::{client, word};
use crate::node::Node;
use crate::{ALWAYS, count, message};

/// The selected pod `a` and the released pod `b` of the planner's cluster.
fn body() -> Body {
    client()
}

fn pods(enforced: u32, blocked: u32, unenforceable: u32) -> Option<ScopePods> {
    Some(ScopePods {
        enforced,
        observed: 0,
        blocked,
        unenforceable,
    })
}

fn refusal(response: &CniResponse) -> (u32, &str) {
    match response {
        CniResponse::Refused(refusal) => (refusal.code, refusal.reason.as_str()),
        CniResponse::Done => panic!("the pod would start"),
    }
}

fn redirect() -> Bypass {
    Bypass::Redirect {
        direction: Direction::Ingress,
        to: "eth0".to_owned(),
    }
}

#[tokio::test]
async fn a_scope_is_blocked_where_no_tunnel_can_be_made() {
    let mut node = Node::new();
    node.host
        .fails(Call::TunnelBackend, 1, ALWAYS, errno::ENOENT);
    node.takes(body()).await;
    let blocked = ScopeStatus::Blocked {
        cause: BlockCause::NoTunnel,
        seal: Seal::Sealed,
    };
    assert_eq!(node.track().status, blocked);
    assert_eq!(node.scope().pods, pods(0, 1, 0));
    assert_eq!(node.scope().reason.as_deref(), Some("NoTunnel"));
    let links = node.host.list_links().await.unwrap();
    assert!(links.iter().all(|link| !link.name.starts_with("pst-")));
    let report = node.reports("FailClosed", "True", "Sealed");
    assert_eq!(report.capabilities.unwrap().tunnels, TunnelKind::None);
}

#[tokio::test]
async fn a_tunnel_that_is_there_carries_on_when_no_other_can_be_made() {
    let mut node = Node::new();
    node.takes(body()).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    node.host
        .fails(Call::TunnelBackend, 1, ALWAYS, errno::ENOENT);
    node.runs(Activation::Timer).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
}

#[tokio::test]
async fn the_lock_stands_alone_where_there_is_no_nft() {
    let mut node = Node::without_nft();
    node.takes(body()).await;
    let locks = node.host.list_locks().await.unwrap();
    assert!(!locks.is_empty());
    assert_eq!(locks, node.agent.kernel.desired.locks);
    let failed_to_block = ScopeStatus::Blocked {
        cause: BlockCause::NoGuard,
        seal: Seal::NotSealed,
    };
    assert_eq!(node.track().status, failed_to_block);
    assert_eq!(node.scope().pods, pods(0, 0, 1), "never called blocked");
    assert_eq!(node.scope().posture, Posture::Open);
    let report = node.reports("FailClosed", "False", "NoGuard");
    assert!(!report.capabilities.unwrap().nftables);
    node.reports("SecondLock", "True", "Locked");
}

#[tokio::test]
async fn a_lock_that_somebody_removes_is_put_back_where_there_is_no_nft() {
    let mut node = Node::without_nft();
    node.takes(body()).await;
    let all = node.host.list_locks().await.unwrap();
    node.host.remove_lock(all.first().unwrap()).await.unwrap();
    node.agent.reconcile(Activation::HostChanged).await;
    assert_eq!(node.host.list_locks().await.unwrap(), all);
    assert_eq!(node.agent.kernel.last.lock(), Some(Seal::Sealed));
}

#[tokio::test]
async fn guarded_pods_do_not_start_where_there_is_no_nft_and_others_do() {
    let mut node = Node::without_nft();
    node.agent.reconcile(Activation::Startup).await;
    let early = node.adds("web", "w", "veth3").await;
    assert_eq!(
        refusal(&early),
        (11, "NotSealed"),
        "without a body every namespace counts as guarded"
    );
    node.takes(body()).await;
    assert_eq!(
        refusal(&node.adds("crawlers", "a", "veth1").await),
        (11, "NotSealed")
    );
    assert_eq!(node.adds("web", "w", "veth3").await, CniResponse::Done);
    assert_eq!(
        node.agent.cni_status(),
        CniResponse::Done,
        "or the kubelet would start nobody at all"
    );
}

#[tokio::test]
async fn the_guard_stands_where_the_kernel_has_no_lock() {
    let mut node = Node::new();
    node.host
        .fails(Call::ListLocks, 1, ALWAYS, errno::EPROTONOSUPPORT);
    node.host
        .fails(Call::AddLock, 1, ALWAYS, errno::EPROTONOSUPPORT);
    node.takes(body()).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    node.reports("FailClosed", "True", "Sealed");
    let report = node.reports("SecondLock", "False", "NoSecondLock");
    assert!(message(&report, "SecondLock").contains("this kernel has none"));
    // Nothing holds while our tables are away, so they are put back by the first run after the event.
    node.host.flushes_the_firewall().await;
    node.agent.reconcile(Activation::HostChanged).await;
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
    // One for each table.
    assert_eq!(node.agent.output.counters.get("repairs"), Some(&3));
}

#[tokio::test]
async fn a_pod_past_the_guard_is_named_and_never_called_enforced_or_blocked() {
    let mut node = Node::new();
    node.takes(body()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    assert_eq!(node.adds("web", "w", "veth3").await, CniResponse::Done);
    node.runs(Activation::BindingChanged).await;
    assert_eq!(node.scope().pods, pods(1, 0, 0));

    node.host.has_bypass(word("veth1"), redirect());
    node.runs(Activation::Timer).await;
    assert_eq!(node.scope().pods, pods(0, 0, 1));
    assert_eq!(
        node.scope().state,
        ScopeState::Enforcing,
        "for the scope's other pods"
    );
    let report = node.reports("Verified", "False", "DataplaneBypassed");
    let message = message(&report, "Verified");
    assert!(
        message.contains("crawlers/a") && message.contains("veth1"),
        "{message}"
    );
    assert_eq!(report.counters.get("bypassed_pods"), Some(&1));
    node.reports("FailClosed", "True", "Sealed");

    node.host.has_no_bypass(&word("veth1"));
    node.runs(Activation::Timer).await;
    assert_eq!(node.scope().pods, pods(1, 0, 0));
    node.reports("Verified", "True", "Verified");
}

#[tokio::test]
async fn a_released_pod_past_the_guard_is_nobodys_concern() {
    let mut node = Node::new();
    node.takes(body()).await;
    assert_eq!(node.adds("web", "w", "veth3").await, CniResponse::Done);
    node.host.has_bypass(word("veth3"), redirect());
    // Pod `a` has a binding elsewhere: without one it could be behind that link.
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    node.runs(Activation::Timer).await;
    assert_eq!(node.scope().pods, pods(1, 0, 0));
    node.reports("Verified", "True", "Verified");
}

#[tokio::test]
async fn a_pod_without_a_binding_may_be_behind_any_link_past_the_guard() {
    let mut node = Node::new();
    node.host.has_bypass(word("veth2"), redirect());
    node.takes(body()).await;
    assert_eq!(node.scope().pods, pods(0, 0, 1));
    node.reports("Verified", "False", "DataplaneBypassed");
}

#[tokio::test]
async fn a_guarded_pod_does_not_start_past_the_guard_and_its_neighbours_do() {
    let mut node = Node::new();
    node.takes(body()).await;
    node.host.has_bypass(word("veth1"), redirect());
    assert_eq!(
        refusal(&node.adds("crawlers", "a", "veth1").await),
        (11, "DataplaneBypassed")
    );
    assert_eq!(node.adds("crawlers", "b", "veth2").await, CniResponse::Done);
    assert_eq!(
        node.adds("web", "w", "veth1").await,
        CniResponse::Done,
        "nobody wants it guarded"
    );
    node.host.fails(Call::Bypasses, 1, 1, errno::EPERM);
    assert_eq!(
        refusal(&node.adds("crawlers", "b", "veth2").await),
        (11, "HostUnreadable")
    );
}

#[tokio::test]
async fn a_pod_that_was_guarded_once_does_not_start_past_the_guard_although_nobody_lists_it() {
    let mut node = Node::new();
    let body = body();
    node.takes(body.clone()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    let mut silent = body;
    silent.serial.0 += 1;
    silent.guarded_namespaces.clear();
    silent.pods.clear();
    node.takes(silent).await;
    // Its sandbox is made anew, behind a link that the guard does not see.
    node.host.has_bypass(word("veth1"), redirect());
    assert_eq!(
        refusal(&node.adds("crawlers", "a", "veth1").await),
        (11, "DataplaneBypassed")
    );
}

/// `CONFIG_NF_TABLES_ARP` is a switch of its own.
#[tokio::test]
async fn a_kernel_without_arp_tables_keeps_the_guard_and_every_way_out_and_its_statuses_agree() {
    let mut node = Node::new();
    node.takes(body()).await;
    node.host.edits_the_firewall(|firewall| firewall.arp = None);
    node.host
        .fails(Call::ChangeFirewall, 1, ALWAYS, errno::EOPNOTSUPP);
    node.agent.kernel.last.verified_at = None;
    node.agent.reconcile(Activation::Asked).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    assert!(
        node.agent.kernel.last.verified_at.is_some(),
        "the node agrees"
    );
    node.reports("Programmed", "True", "Programmed");
    node.reports("FailClosed", "True", "Sealed");
    node.host.takes_the_calls();
    node.agent.reconcile(Activation::Timer).await;
    let calls = node.host.takes_the_calls();
    assert_eq!(
        count(&calls, Call::ChangeFirewall),
        0,
        "it is not tried again"
    );
}
