//! Whose turn it is in the agent's loop.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use futures::{Stream, stream};
use postern_agent::agent::run::Wakers;
use postern_agent::control::server::Work;
use postern_cni::protocol::{Add, Attachment, CheckRequest, CniResponse, Request};
use postern_telemetry::Health;
use tokio::sync::{mpsc, oneshot};

use crate::fixture::client;
use crate::node::{Node, add};

/// So long that no timer of a case wakes the loop.
const CHECK: Duration = Duration::from_secs(3600);

pub(crate) fn wakers<S>(work: mpsc::Receiver<Work>, host: S) -> Wakers<S> {
    Wakers {
        probes: postern_agent::probe::no_probes(),
        uplinks: postern_agent::isolation::IsolationHandle::absent().changes(),
        egress: postern_agent::egress::EgressHandle::absent().changes(),
        first_look: Duration::ZERO,
        work,
        host,
        updates: mpsc::channel(1).1,
        health: Health::default(),
        check: CHECK,
    }
}

/// Puts a request in the queue.
fn put(queue: &mpsc::Sender<Work>, request: Request) -> oneshot::Receiver<CniResponse> {
    let (send, receive) = oneshot::channel();
    queue.try_send(Work::Cni(request, send)).unwrap();
    receive
}

/// A host that always has something to tell, and does so when it is listened to.
fn crowd(mut heard: impl FnMut() + Unpin) -> impl Stream<Item = ()> + Unpin {
    stream::poll_fn(move |_| {
        heard();
        Poll::Ready(Some(()))
    })
}

#[tokio::test]
async fn a_pod_that_starts_goes_before_every_event_of_the_host() {
    let mut node = Node::new();
    node.takes(client()).await;
    let (queue, work) = mpsc::channel(32);
    let answers: Vec<_> = (0..32).map(|_| put(&queue, Request::Status)).collect();
    let turns = AtomicUsize::new(0);
    let host = crowd(|| {
        turns.fetch_add(1, Ordering::Relaxed);
    });
    tokio::select! {
        biased;
        answers = join_all(answers) => assert!(answers.iter().all(Result::is_ok)),
        () = node.goes_on(wakers(work, host)) => panic!("the loop ended"),
    }
    // The loop goes on to its next wait before it is looked at here again.
    let listened = turns.load(Ordering::Relaxed);
    assert!(listened <= 1, "{listened}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_been_due_for_seconds_waits_for_no_pod() {
    let mut node = Node::new();
    node.takes(client()).await;
    let (queue, work) = mpsc::channel(2000);
    let answers: Vec<_> = (0..2000).map(|_| put(&queue, Request::Status)).collect();
    let waiting = OnceLock::new();
    let host = crowd(|| {
        waiting.get_or_init(|| queue.max_capacity() - queue.capacity());
    });
    tokio::select! {
        biased;
        () = async {
            // The loop gives way to other tasks now and then, in the midst of its work.
            while waiting.get().is_none() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
        } => {}
        () = node.goes_on(wakers(work, host)) => panic!("the loop ended"),
    }
    assert!(waiting.get() > Some(&0), "all work came first");
    drop(answers);
}

#[tokio::test]
async fn nothing_is_made_for_an_add_whose_asker_has_gone_and_a_del_takes_away_all_the_same() {
    let mut node = Node::new();
    node.takes(client()).await;
    assert_eq!(node.adds("crawlers", "b", "veth2").await, CniResponse::Done);
    let (queue, work) = mpsc::channel(8);
    let id = |name: &str| format!("c-{name}");
    let gone = |request| drop(put(&queue, request));
    gone(Request::Add(add("crawlers", "a", "veth1")));
    gone(Request::Del(Attachment {
        container_id: id("b"),
        ifname: "eth0".to_owned(),
    }));
    let checks = ["a", "b"].map(|name| {
        let check = CheckRequest {
            container_id: id(name),
            ifname: "eth0".to_owned(),
            addresses: Vec::new(),
        };
        put(&queue, Request::Check(check))
    });
    tokio::select! {
        biased;
        answers = join_all(checks) => for answer in answers {
            match answer.unwrap() {
                CniResponse::Refused(refusal) => assert_eq!(refusal.reason, "NotBound"),
                CniResponse::Done => panic!("it is bound"),
            }
        },
        () = node.goes_on(wakers(work, stream::pending())) => panic!("the loop ended"),
    }
}

#[tokio::test]
async fn the_loop_tells_probes_that_it_turns_and_whether_the_guard_stands() {
    let mut node = Node::new();
    node.takes(client()).await;
    let (queue, work) = mpsc::channel(8);
    let wakers = wakers(work, stream::pending());
    let health = wakers.health.clone();
    // As of a loop that has not turned for too long.
    health.heartbeat(Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(!health.is_alive() && !health.is_ready());
    let answer = put(&queue, Request::Status);
    tokio::select! {
        biased;
        answer = answer => assert!(answer.is_ok()),
        () = node.goes_on(wakers) => panic!("the loop ended"),
    }
    assert!(health.is_alive() && health.is_ready());
}

#[tokio::test]
async fn a_pod_behind_a_link_that_no_setting_matches_does_not_start_and_is_told_which_setting() {
    let mut node = Node::new();
    node.takes(client()).await;
    let (sender, answer) = oneshot::channel();
    let behind = Add {
        host_interface: Some("eth9".to_owned()),
        ..add("crawlers", "a", "veth1")
    };
    node.agent.cni_add(&behind, sender).await;
    let CniResponse::Refused(refusal) = answer.await.unwrap() else {
        panic!("the pod would start");
    };
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (11, "UnknownPodLink")
    );
    assert!(refusal.message.contains("--pod-links"), "{refusal:?}");
    assert!(node.agent.memory.bindings.get().by_container.is_empty());
}

#[tokio::test]
async fn what_the_runtime_no_longer_knows_loses_its_binding_and_the_others_keep_theirs() {
    let mut node = Node::new();
    node.takes(client()).await;
    for (name, link) in [("a", "veth1"), ("b", "veth2")] {
        assert_eq!(node.adds("crawlers", name, link).await, CniResponse::Done);
    }
    assert_eq!(bound(&node), 2);
    assert_eq!(
        node.agent.cni_gc(&["c-a".to_owned()]).await,
        CniResponse::Done
    );
    let kept: Vec<&String> = node
        .agent
        .memory
        .bindings
        .get()
        .by_container
        .keys()
        .collect();
    assert_eq!(kept, ["c-a"]);
    assert_eq!(bound(&node), 1);
    assert_eq!(node.agent.cni_gc(&[]).await, CniResponse::Done);
    assert_eq!(bound(&node), 0);
}

/// How many addresses the bridge table binds to a link.
fn bound(node: &Node) -> usize {
    let mut count = 0;
    node.host.edits_the_firewall(|firewall| {
        let table = firewall.bridge.as_ref();
        let set = table.and_then(|table| table.sets.get("bind4"));
        count = set.map_or(0, |set| set.elements.len());
    });
    count
}
