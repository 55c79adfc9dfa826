//! The task on a host in memory.

use std::time::Duration;

use futures::stream;
use postern_agent_core::isolation::RemoteUse;
use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use postern_host::Links as _;
use postern_host::error::errno;
use postern_host::ports::TransportProtocol;
use postern_host_testing::contract::OtherProgram as _;
use postern_host_testing::fake::{Call, FakeHost, Flow};
use postern_host_testing::fixture::link;
use postern_intent::body::{Isolation, RadioRule, RemoteLinks};
use postern_plan::host::{AdminState, TcpSession};

use super::*;

fn order() -> UplinkOrder {
    UplinkOrder::Isolate(Box::new(isolation()))
}

fn isolation() -> IsolationOrder {
    IsolationOrder {
        isolation: Isolation {
            policy: "one".to_owned(),
            digest: "0000000000000001".parse().unwrap(),
            preferred: vec!["eth0".to_owned()],
            exclude: Vec::new(),
            hotspot: None,
            radios: RadioRule::Blocked,
            confirm_within_seconds: 1,
            remote_links: RemoteLinks::Cut,
        },
        api_servers: BTreeSet::new(),
    }
}

/// A host with two uplinks and the task on it, which no event wakes.
struct Scene {
    host: FakeHost,
    handle: IsolationHandle,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let host = FakeHost::new();
        host.has_link(link(2, "eth0", "", None));
        host.has_link(link(3, "eth1", "", None));
        let folder = tempfile::tempdir().unwrap();
        let handle = Self::task(&host, &folder);
        Self {
            host,
            handle,
            folder,
        }
    }

    fn task(host: &FakeHost, folder: &tempfile::TempDir) -> IsolationHandle {
        let options = IsolationOptions {
            state_dir: folder.path().to_owned(),
            pod_links: Vec::new(),
        };
        start(host.clone(), options, stream::pending())
    }

    async fn up(&self) -> Vec<String> {
        let links = self.host.list_links().await.unwrap();
        let up = links
            .into_iter()
            .filter(|link| link.state == AdminState::Up);
        up.map(|link| link.name)
            .filter(|name| name != "lo")
            .collect()
    }

    async fn finds(&self, state: IsolationState) -> ReportedUplinks {
        let mut changes = self.handle.changes();
        let is_there = |found: &PublishedUplinks| {
            let reported = found.reported.as_ref();
            reported.is_some_and(|one| one.finding.state == state)
        };
        let found = changes.wait_for(is_there).await.unwrap().clone();
        found.reported.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_order_no_link_is_touched() {
    let scene = Scene::new();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.up().await, ["eth0", "eth1"]);
    scene.handle.order(UplinkOrder::LetGo);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.up().await, ["eth0", "eth1"]);
    assert_eq!(scene.handle.found(), PublishedUplinks::default());
}

#[tokio::test(start_paused = true)]
async fn links_that_cannot_be_listed_are_left_as_they_are_and_that_is_reported() {
    let scene = Scene::new();
    scene.host.fails(Call::ListLinks, 1, 3, errno::EPERM);
    scene.handle.order(order());
    let found = scene.finds(IsolationState::Deviating).await;
    assert_eq!(found.finding.reason, Reason::HostUnreadable);
    scene.finds(IsolationState::Compliant).await;
    assert_eq!(scene.up().await, ["eth0"]);
}

#[tokio::test(start_paused = true)]
async fn without_events_the_timer_looks() {
    let scene = Scene::new();
    scene.handle.order(order());
    scene.finds(IsolationState::Compliant).await;
    scene.host.sets_state("eth1", AdminState::Up).await;
    assert_eq!(scene.up().await, ["eth0", "eth1"]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(scene.up().await, ["eth0"]);
}

#[tokio::test(start_paused = true)]
async fn a_switch_whose_memory_cannot_be_written_changes_nothing() {
    let scene = Scene::new();
    let file = scene.folder.path().join("isolation.json");
    std::fs::create_dir(&file).unwrap();
    std::fs::write(file.join("in-the-way"), "").unwrap();
    scene.handle.order(order());
    let found = scene.finds(IsolationState::Deviating).await;
    assert_eq!(found.finding.reason, Reason::NotDurable);
    assert_eq!(scene.up().await, ["eth0", "eth1"]);
}

#[tokio::test(start_paused = true)]
async fn a_later_task_has_the_guard_of_the_former_one_before_it_gets_an_order() {
    let scene = Scene::new();
    scene.handle.order(order());
    scene.finds(IsolationState::Compliant).await;
    let later = Scene::task(&scene.host, &scene.folder);
    let guard = later.found().guard.unwrap();
    assert!(guard.passes.contains("eth0") && !guard.passes.contains("eth1"));
}

#[tokio::test(start_paused = true)]
async fn links_that_are_interrupted_for_ever_are_reported_and_links_that_are_once_are_not() {
    let scene = Scene::new();
    scene.host.fails(Call::ListLinks, 1, 3, errno::EBUSY);
    scene.handle.order(order());
    scene.finds(IsolationState::Compliant).await;
    scene
        .host
        .fails(Call::ListLinks, 1, usize::MAX, errno::EBUSY);
    let found = scene.finds(IsolationState::Deviating).await;
    assert_eq!(found.finding.reason, Reason::HostUnreadable);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_memory_is_put_aside_and_said_until_it_is_removed_also_over_a_restart() {
    let mut scene = Scene::new();
    let file = scene.folder.path().join("isolation.json");
    std::fs::write(&file, "{").unwrap();
    for _ in 0..2 {
        scene.handle = Scene::task(&scene.host, &scene.folder);
        scene.handle.order(order());
        let found = scene.finds(IsolationState::Deviating).await.finding;
        assert_eq!(found.reason, Reason::LinkMemoryLost);
        assert!(
            found.message.contains("isolation.json.damaged"),
            "{}",
            found.message
        );
        assert!(found.guard.is_some(), "isolated all the same");
        assert_eq!(scene.up().await, ["eth0"]);
    }
    let aside = scene.folder.path().join("isolation.json.damaged");
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), "{");
    std::fs::remove_file(aside).unwrap();
    scene.finds(IsolationState::Compliant).await;
}

/// A host whose `eth0` has 192.0.2.1, and a session from it to the address of a Service, which another machine serves.
fn host_with_a_service(server: &str) -> (FakeHost, BTreeSet<SocketAddr>) {
    let host = FakeHost::new();
    let mut eth0 = link(2, "eth0", "", None);
    eth0.addresses = vec!["192.0.2.1/24".parse().unwrap()];
    host.has_link(eth0);
    let [local, service, server] =
        ["192.0.2.1:40000", "10.96.0.1:443", server].map(|text| text.parse().unwrap());
    host.has_session(TcpSession {
        local,
        remote: service,
    });
    host.has_flow(Flow {
        protocol: TransportProtocol::Tcp,
        original: (local, service),
        reply: (server, local),
    });
    (host, BTreeSet::from([server]))
}

#[tokio::test]
async fn a_session_with_the_api_server_by_the_address_of_its_service_is_protected() {
    let (host, servers) = host_with_a_service("192.0.2.9:6443");
    let links = host.list_links().await.unwrap();
    let uses = remote::uses(&host, &servers, &links).await.unwrap();
    assert_eq!(uses, [("eth0".to_owned(), RemoteUse::ApiServer)].into());
    let other = BTreeSet::from(["192.0.2.10:6443".parse().unwrap()]);
    assert!(
        remote::uses(&host, &other, &links)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_api_server_on_the_node_itself_is_by_no_uplink_and_is_not_asked() {
    let (host, servers) = host_with_a_service("192.0.2.1:6443");
    host.has_session(TcpSession {
        local: "192.0.2.1:40001".parse().unwrap(),
        remote: "192.0.2.1:6443".parse().unwrap(),
    });
    let links = host.list_links().await.unwrap();
    assert!(
        remote::uses(&host, &servers, &links)
            .await
            .unwrap()
            .is_empty()
    );
    let other: SocketAddr = "192.0.2.9:6443".parse().unwrap();
    let all = servers.into_iter().chain([other]).collect();
    assert_eq!(remote::of_others(&all, &links), [other].into());
}
