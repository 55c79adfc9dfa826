//! The task on a host in memory.

use std::time::Duration;

use futures::stream;
use jiff::SignedDuration;
use postern_agent_core::egress::{EgressState, WantedEgress};
use postern_host::error::errno;
use postern_host_testing::fake::{Call, FakeHost};
use postern_host_testing::fixture::{gateway, link};
use postern_intent::Body;
use postern_intent::body::EgressTerm;

use super::*;
use crate::clock::Clock;

const ADDRESS: &str = "203.0.113.10";

/// The task, with the ends that the API server would have.
struct Scene {
    host: FakeHost,
    handle: EgressHandle,
    asked: watch::Receiver<Option<Serial>>,
    answers: watch::Sender<Option<IntentConfirmation>>,
}

impl Scene {
    fn new() -> Self {
        let host = FakeHost::new();
        host.has_link(link(2, "eth0", "", None));
        let (wanted, asked) = watch::channel(None);
        let (answers, confirmed) = watch::channel(None);
        let confirmations = Confirmations::ApiServer {
            wanted,
            answers: confirmed,
        };
        let handle = start(
            host.clone(),
            Clock::new(None),
            confirmations,
            stream::pending(),
        );
        Self {
            host,
            handle,
            asked,
            answers,
        }
    }

    /// Orders the addresses of the body, on `eth0`.
    fn orders(&self, body: &Body) {
        let served = body.nat.iter();
        let wanted = served.flat_map(|served| {
            served.egress.iter().map(|address| WantedEgress {
                exit: served.exit.clone(),
                on: EgressAddress {
                    device: "eth0".parse().unwrap(),
                    address: *address,
                },
                term: served.egress_term,
            })
        });
        self.handle.order(EgressOrder {
            wanted: wanted.collect(),
            not_after: Timestamp::now() + SignedDuration::from_hours(1),
            serial: body.serial,
        });
    }

    fn confirms(&self, body: &Body) {
        self.answers.send_replace(Some(IntentConfirmation {
            serial: body.serial,
            asked: Instant::now(),
            asked_at: Timestamp::now(),
        }));
    }

    async fn finds(&self, what: &str, is_it: impl Fn(&EgressFindings) -> bool) -> EgressFindings {
        let mut changes = self.handle.changes();
        let found = tokio::time::timeout(
            Duration::from_secs(20),
            changes.wait_for(|found| is_it(found)),
        );
        let found = found.await.unwrap_or_else(|_| {
            let (found, host) = (self.handle.found(), self.host.egress());
            panic!("{what}: {found:?} {host:?}")
        });
        found.unwrap().clone()
    }

    async fn holds(&self) {
        let held = |found: &EgressFindings| {
            let mut states = found.states.iter();
            states.any(|(_, state)| *state == EgressState::Held)
        };
        self.finds("an address", held).await;
    }

    fn calls(&self, call: Call) -> usize {
        let calls = self.host.takes_the_calls().into_iter();
        calls.filter(|made| *made == call).count()
    }
}

/// A gateway that gets the address when the API server confirms the intent.
fn confirmed() -> Body {
    let mut body = gateway(&[ADDRESS]);
    for served in &mut body.nat {
        served.egress_term = EgressTerm::Confirmed;
    }
    body
}

fn without_addresses() -> Body {
    let mut body = gateway(&[]);
    body.serial = Serial(confirmed().serial.0 + 1);
    body
}

#[tokio::test(start_paused = true)]
async fn an_address_is_given_when_the_order_is_confirmed_and_removed_when_it_leaves_the_order() {
    let mut scene = Scene::new();
    let (body, later) = (confirmed(), without_addresses());
    scene.orders(&body);
    let waits = |found: &EgressFindings| {
        let mut states = found.states.iter();
        states.any(|(_, state)| *state == EgressState::Unconfirmed)
    };
    scene.finds("that it waits", waits).await;
    let asked = scene.asked.wait_for(|serial| *serial == Some(body.serial));
    asked.await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(scene.host.egress().is_empty(), "it was not confirmed");
    scene.confirms(&body);
    scene.holds().await;
    let given: Vec<_> = scene.host.egress().into_keys().collect();
    assert!(
        matches!(given.as_slice(), [one] if one.address.to_string() == ADDRESS && one.device.as_str() == "eth0")
    );
    scene.orders(&later);
    scene
        .finds("no address", |found| found.follows(&later))
        .await;
    assert!(scene.host.egress().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_keeps_the_address_in_the_findings_and_is_tried_again() {
    let scene = Scene::new();
    let (body, later) = (confirmed(), without_addresses());
    scene.orders(&body);
    scene.confirms(&body);
    scene.holds().await;
    scene.host.fails(Call::DropEgress, 1, 2, errno::EINVAL);
    scene.calls(Call::DropEgress);
    scene.orders(&later);
    let newer = |found: &EgressFindings| found.serial == later.serial;
    let found = scene.finds("the later order", newer).await;
    assert_eq!(found.there.as_ref().map(BTreeSet::len), Some(1));
    assert!(!found.follows(&later), "another gateway must wait");
    scene
        .finds("no address", |found| found.follows(&later))
        .await;
    assert!(scene.host.egress().is_empty());
    assert_eq!(scene.calls(Call::DropEgress), 3);
}
