//! Steps that fail: what they keep from happening, how often they are tried, and what is said of them.

use std::net::SocketAddr;

use postern_agent::agent::Activation;
use postern_agent::agent::reconcile::Again;
use postern_agent::agent::state::{StartDamage, note_damage};
use postern_agent::audit::AuditTrail;
use postern_agent::control::server;
use postern_agent::{files, trust};
use postern_agent_core::ScopeStatus;
use postern_cni::protocol::CniResponse;
use postern_crds::conditions::{ConditionType, Reason};
use postern_crds::node_report::{Difference, Posture, ScopeState};
use postern_host::error::errno;
use postern_host::ports::{Firewall as _, Locks as _, Routes as _, TransportProtocol};
use postern_host_testing::contract::OtherProgram as _;
use postern_host_testing::fake::{Call, Flow};
use postern_intent::Body;
use postern_intent::body::{BlockedReason, Class};
use postern_plan::check::Seal;
use postern_plan::flow::CutExtent;
use postern_plan::host::{Family, KernelRoute, RouteKind};
use postern_plan::ruleset::Atom;

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
    assert_eq!(node.agent.kernel.last.failures, Vec::new());
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    let report = node.reports("Programmed", "True", "Programmed");
    assert!(!report.capabilities.unwrap().ipv6);
    let desired = &node.agent.kernel.desired;
    assert!(desired.ruleset.inet.sets.contains_key("from6"), "guarded");
    let mut devices = desired.devices.iter().map(|setting| setting.key.family());
    assert!(devices.all(|family| family == Family::V4));
}

#[tokio::test]
async fn where_new_devices_take_no_ipv6_ipv4_leaves_by_the_exit_and_ipv6_stays_blocked() {
    let mut node = Node::new();
    node.host.disables_ipv6();
    node.takes(client()).await;
    assert_eq!(node.agent.kernel.last.failures, Vec::new());
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    let report = node.reports("Programmed", "True", "Programmed");
    let said = message(&report, "Programmed");
    assert!(said.contains("IPv6 of selected pods is blocked"), "{said}");
    assert!(!report.capabilities.unwrap().ipv6);
    // Whatever blocks stands in both families.
    let routes = node.host.list_routes().await.unwrap();
    let six = |route: &&KernelRoute| Family::of_prefix(&route.destination) == Family::V6;
    let mut six = routes.iter().filter(six).peekable();
    assert!(six.peek().is_some(), "{routes:?}");
    assert!(six.all(|route| route.kind == RouteKind::Unreachable));
    let locks = node.host.list_locks().await.unwrap();
    let mut families = locks.iter().map(|lock| Family::of_prefix(&lock.source));
    assert!(families.any(|family| family == Family::V6));
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
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
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
        protocol: TransportProtocol::Tcp,
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
    node.agent
        .kernel
        .owed_cuts
        .insert("10.244.1.3".parse().unwrap(), CutExtent::Outgoing);
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
    node.agent
        .kernel
        .owed_cuts
        .insert("10.244.1.3".parse().unwrap(), CutExtent::Outgoing);
    node.adds("crawlers", "a", "veth1").await;
    assert_eq!(node.host.flows(), []);
    assert!(node.agent.kernel.owed_cuts.is_empty());
}

/// What the map of the guard says of an address.
async fn class_of(node: &Node, address: &str) -> Option<String> {
    let firewall = node.host.read_firewall().await.unwrap();
    let elements = &firewall.inet.unwrap().sets["from4"].elements;
    let key = [Atom::Address(address.parse().unwrap())];
    let element = elements.iter().find(|element| element.key == key)?;
    Some(element.to_string())
}

fn with_class(body: &Body, class: Class) -> Body {
    next(body, |body| body.pods[1].class = class)
}

#[tokio::test]
async fn where_no_flow_can_be_cut_pods_start_and_nobody_is_held_but_whose_own_flows_go_on() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host
        .fails(Call::CutFlows, 1, usize::MAX, errno::EINVAL);
    let blocked = BlockedReason::NoExit;
    let closed = with_class(&client(), Class::Blocked { reason: blocked });
    node.takes(closed.clone()).await;
    assert_eq!(node.adds("web", "w", "veth3").await, CniResponse::Done);
    let released = class_of(&node, "10.244.1.4").await;
    assert!(released.is_some_and(|class| class.ends_with("goto released")));

    // The pod that moves is held until its own flows are cut, and nobody else with it.
    node.takes(with_class(&closed, Class::Released)).await;
    assert_eq!(class_of(&node, "10.244.1.3").await, None);
    node.reports("Programmed", "False", "FlowsNotCut");
    // So is one that gets the address of a guarded pod.
    let refused = node.adds("web", "x", "veth1").await;
    assert!(
        matches!(&refused, CniResponse::Refused(refusal) if refusal.reason == "FlowsNotCut"),
        "{refused:?}"
    );
    node.host.fails(Call::CutFlows, 1, 0, 0);
    node.runs(Activation::Retry).await;
    let released = class_of(&node, "10.244.1.3").await;
    assert!(released.is_some_and(|class| class.ends_with("goto released")));
    node.reports("Programmed", "True", "Programmed");
}

#[tokio::test]
async fn a_flow_that_cannot_be_cut_keeps_no_other_address_from_being_released() {
    let mut node = Node::new();
    let closed = next(&client(), |body| {
        body.pods[1].class = Class::Blocked {
            reason: BlockedReason::NoExit,
        };
    });
    node.takes(closed.clone()).await;
    node.host.has_flow(flow());
    node.host.keeps_flows_of("10.244.1.3".parse().unwrap());
    node.takes(with_class(&closed, Class::Released)).await;
    assert_eq!(class_of(&node, "10.244.1.3").await, None);
    let owed: Vec<String> = node
        .agent
        .kernel
        .owed_cuts
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(owed, ["10.244.1.3"]);
    let firewall = node.host.read_firewall().await.unwrap();
    let six = &firewall.inet.unwrap().sets["from6"].elements;
    assert!(
        six.iter()
            .any(|element| element.to_string() == "fd00:10:244:1::3 : goto released"),
        "{six:?}"
    );
}

#[tokio::test]
async fn an_agent_that_restarts_cuts_no_flow_of_a_released_pod_and_every_one_of_an_unbound_guarded_pod()
 {
    let mut node = Node::new();
    node.takes(client()).await;
    let guarded: SocketAddr = "10.244.1.2:40000".parse().unwrap();
    let of_guarded = Flow {
        original: (guarded, flow().original.1),
        reply: (flow().reply.0, guarded),
        ..flow()
    };
    node.host.has_flow(flow());
    node.host.has_flow(of_guarded);
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(node.host.flows(), [flow()]);
}

#[tokio::test]
async fn routes_that_cannot_be_read_take_nothing_from_the_guard_and_refuse_no_pod() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.fails(Call::ListRoutes, 1, 2, errno::EINTR);
    let again = node.agent.reconcile(Activation::Timer).await;
    assert_eq!(again, Again::Soon);
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
    let scope = node.scope();
    assert_eq!(scope.state, ScopeState::Degraded);
    assert_eq!(scope.pods.unwrap().unenforceable, 0);
    assert_eq!(node.agent.cni_status(), CniResponse::Done);
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    let report = node.reports("Verified", "False", "Mismatch");
    assert!(message(&report, "Verified").contains("routes could not be read"));
    let unread = report.mismatches.first().unwrap();
    assert_eq!(unread.difference, Difference::Unreadable);
    node.reports("FailClosed", "True", "Sealed");
    node.runs(Activation::Retry).await;
    assert_eq!(node.track().status, ScopeStatus::Enforcing);
    node.reports("Verified", "True", "Verified");
}

#[tokio::test]
async fn a_guard_that_cannot_be_read_is_not_called_sealed() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host.fails(Call::ReadFirewall, 1, ALWAYS, errno::EINTR);
    node.runs(Activation::Timer).await;
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::NotSealed));
    assert_eq!(
        node.scope().posture,
        Posture::Open,
        "nothing is known of it"
    );
    let report = node.reports("FailClosed", "False", "NotSealed");
    assert!(message(&report, "FailClosed").contains("firewall could not be read"));
}

#[tokio::test]
async fn a_missing_tree_of_switches_takes_no_lock_and_no_route_away() {
    let mut node = Node::new();
    node.takes(client()).await;
    let locks = node.host.list_locks().await.unwrap();
    let routes = node.host.list_routes().await.unwrap();
    let has = |family: Family| {
        let mut sources = locks.iter().map(|lock| Family::of_prefix(&lock.source));
        sources.any(|found| found == family)
    };
    assert!(has(Family::V4) && has(Family::V6) && !routes.is_empty());
    node.host.fails(Call::GetDevice, 1, ALWAYS, errno::ENOENT);
    node.runs(Activation::Timer).await;
    assert_eq!(node.host.list_locks().await.unwrap(), locks);
    assert_eq!(node.host.list_routes().await.unwrap(), routes);
    node.reports("Verified", "False", "Mismatch");
    node.reports("SecondLock", "True", "Locked");
}

#[tokio::test]
async fn a_change_that_nft_refuses_leaves_the_former_guard_and_its_body_in_the_report() {
    let mut node = Node::new();
    node.takes(client()).await;
    node.host
        .fails(Call::ChangeFirewall, 1, ALWAYS, errno::EINVAL);
    let stricter = next(&client(), |body| {
        body.pods[1].class = Class::Blocked {
            reason: BlockedReason::NoExit,
        };
    });
    node.takes(stricter.clone()).await;
    let report = node.reports("Programmed", "False", "TransactionFailed");
    assert_eq!(report.applied_serial, Some(client().serial.0));
    let report = node.reports("FailClosed", "True", "Sealed");
    let said = message(&report, "FailClosed");
    assert!(
        said.contains("serial 1") && said.contains("refused"),
        "{said}"
    );
    let scope = node.scope();
    assert_eq!(scope.state, ScopeState::Degraded);
    let pods = scope.pods.unwrap();
    assert_eq!((pods.enforced, pods.unenforceable), (1, 0), "as before");
    let added = node.adds("crawlers", "b", "veth2").await;
    assert!(
        matches!(&added, CniResponse::Refused(refusal) if refusal.reason == "NotSealed"),
        "its class cannot be written: {added:?}"
    );

    node.host.fails(Call::ChangeFirewall, 1, 0, errno::EINVAL);
    node.runs(Activation::Retry).await;
    let report = node.reports("Programmed", "True", "Programmed");
    assert_eq!(report.applied_serial, Some(stricter.serial.0));
}

#[tokio::test]
async fn a_body_that_was_accepted_and_not_read_back_is_not_reported_as_applied() {
    let mut node = Node::new();
    node.takes(client()).await;
    let second = next(&client(), |_| {});
    node.puts_body(second.clone());
    node.agent.take_documents();
    let status = node.agent.status();
    assert_eq!(status.ledger_serial, Some(second.serial.0));
    assert_eq!(status.applied_serial, Some(client().serial.0));
    node.agent.reconcile(Activation::IntentChanged).await;
    assert_eq!(node.agent.status().applied_serial, Some(second.serial.0));
}

#[tokio::test]
async fn files_that_the_guard_does_not_need_are_told_by_a_condition_and_stop_no_seal() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert_eq!(node.adds("crawlers", "a", "veth1").await, CniResponse::Done);
    for file in ["bindings.json", "wireguard.key"] {
        std::fs::write(node.file(file), "damaged").unwrap();
    }
    let mut node = node.restarts();
    node.starts().await;
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
    assert_eq!(node.scope().pods.unwrap().unenforceable, 0);
    let report = node.reports("SourceBinding", "False", "Unbound");
    let said = message(&report, "SourceBinding");
    assert!(said.contains("bindings.json"), "{said}");
    assert!(node.file("bindings.damaged.json").exists());
    let report = node.reports("Programmed", "False", "NoPeerKey");
    let said = message(&report, "Programmed");
    assert!(said.contains("the key's file"), "{said}");
}

/// What a start says of the log, the keys, the folders and the socket of a node where none of them can be used.
fn damages_of_a_start(node: &Node) -> Vec<StartDamage> {
    let blocked = node.file("a-file");
    std::fs::write(&blocked, "").unwrap();
    let below = blocked.join("below");
    let audit = AuditTrail::open(Some(&below)).unwrap_err();
    let trust = trust::in_folder(&below).unwrap_err();
    let run = files::private_folder(&below).unwrap_err();
    let socket = server::bind(&below).unwrap_err();
    vec![
        note_damage(ConditionType::Programmed, Reason::NotDurable, &run),
        note_damage(ConditionType::Programmed, Reason::ApplyFailed, &audit),
        note_damage(ConditionType::Accepted, Reason::EmptyKeySet, &trust),
        note_damage(ConditionType::SourceBinding, Reason::NoPlugin, &socket),
    ]
}

#[tokio::test]
async fn a_log_keys_folders_and_a_socket_that_cannot_be_used_are_told_and_stop_no_seal() {
    let mut node = Node::new();
    node.takes(client()).await;
    let mut node = node.restarts();
    node.host.flushes_the_firewall().await;
    node.agent.output.damages = damages_of_a_start(&node);
    node.starts().await;
    assert_eq!(node.agent.kernel.last.seal(), Some(Seal::Sealed));
    let report = node.reports("FailClosed", "True", "Sealed");
    for (kind, words) in [
        ("Programmed", &["the folder", "the audit log"][..]),
        ("Accepted", &["the trust folder"]),
        ("SourceBinding", &["socket"]),
    ] {
        let found = report.conditions.iter().find(|one| one.type_ == kind);
        let found = found.unwrap();
        assert_eq!(found.status, "False", "{found:?}");
        for word in words {
            assert!(found.message.contains(word), "{word}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_guard_that_is_lost_takes_readiness_with_it_and_brings_it_back() {
    let mut node = Node::new();
    let health = postern_telemetry::Health::default();
    node.agent.tell_readiness(&health);
    assert!(!health.is_ready(), "nothing was read back yet");
    node.takes(client()).await;
    node.agent.tell_readiness(&health);
    assert!(health.is_ready());
    node.host
        .fails(Call::ReadFirewall, 1, ALWAYS, errno::EOPNOTSUPP);
    node.runs(Activation::Timer).await;
    node.agent.tell_readiness(&health);
    assert!(!health.is_ready());
    node.host.fails(Call::ReadFirewall, 1, 0, errno::EOPNOTSUPP);
    node.runs(Activation::Timer).await;
    node.agent.tell_readiness(&health);
    assert!(health.is_ready());
}
