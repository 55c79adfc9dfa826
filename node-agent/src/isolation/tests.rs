//! The task on a host in memory.

use std::time::Duration;

use futures::stream;
use postern_crds::conditions::Reason;
use postern_crds::node_report::IsolationState;
use postern_host::Links as _;
use postern_host::error::errno;
use postern_host_testing::contract::OtherProgram as _;
use postern_host_testing::fake::{Call, FakeHost};
use postern_host_testing::fixture::link;
use postern_intent::body::{Isolation, RadioRule, RemoteLinks};
use postern_plan::host::AdminState;

use super::*;

fn order() -> UplinkOrder {
    UplinkOrder::Isolate(Box::new(IsolationOrder {
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
    }))
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
