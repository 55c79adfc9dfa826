//! The interpreter of steps, and one reading of the host, on the fake.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

use std::collections::BTreeSet;

use postern_host::error::errno;
use postern_host::{
    Firewall as _, Links as _, Locks as _, Part, Reading, Routes as _, apply, observe,
};
use postern_host_testing::fake::{Call, FakeHost};
use postern_plan::Step;
use postern_plan::host::{
    Family, KernelRoute, LockAction, LockPolicy, RouteKind, TunnelBackend, TunnelConfig, TunnelLink,
};
use postern_plan::ruleset::{Ruleset, Transaction};

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(test);
}

fn link() -> TunnelLink {
    TunnelLink {
        name: "pst-c-eu".parse().unwrap(),
        mtu: 1400,
        backend: TunnelBackend::Userspace,
    }
}

fn lock() -> LockPolicy {
    LockPolicy {
        source: "10.244.1.0/24".parse().unwrap(),
        destination: Family::V4.everything(),
        priority: 3000,
        action: LockAction::Block,
        mark: None,
    }
}

fn route() -> KernelRoute {
    let kind = RouteKind::Device(link().name);
    KernelRoute {
        table: 5210,
        destination: Family::V4.everything(),
        metric: 100,
        kind,
    }
}

fn address() -> Step {
    Step::AddAddress {
        device: link().name,
        address: "198.18.0.11/32".parse().unwrap(),
    }
}

fn guard() -> Step {
    Step::Firewall(Transaction::replace(&Ruleset::default()))
}

#[test]
fn performs_steps_in_order() {
    run(async {
        let host = FakeHost::new();
        let steps = [
            guard(),
            Step::AddLock(lock()),
            Step::AddLink(link()),
            Step::SetUp(link().name),
            address(),
            Step::AddRoute(route()),
        ];
        let applied = apply(&host, &steps).await;
        assert_eq!(applied.done, steps);
        assert_eq!(
            (applied.failed, applied.undone, applied.stuck),
            (None, vec![], vec![])
        );
        assert_eq!(host.list_routes().await.unwrap(), BTreeSet::from([route()]));
    });
}

#[test]
fn takes_a_half_made_device_back_and_leaves_the_guard_and_the_lock() {
    run(async {
        let host = FakeHost::new();
        host.fails(Call::AddAddress, 1, 1, errno::ENOMEM);
        let steps = [
            guard(),
            Step::AddLock(lock()),
            Step::AddLink(link()),
            Step::SetUp(link().name),
            address(),
        ];
        let applied = apply(&host, &steps).await;
        assert_eq!(applied.failed.map(|failed| failed.step), Some(address()));
        assert_eq!(applied.done, steps[..2]);
        assert_eq!(applied.undone, [Step::RemoveLink(link())]);
        assert!(
            host.list_links()
                .await
                .unwrap()
                .iter()
                .all(|link| link.name == "lo")
        );
        assert_eq!(host.list_locks().await.unwrap(), BTreeSet::from([lock()]));
        assert!(host.read_firewall().await.unwrap().inet.is_some());
    });
}

#[test]
fn tries_nothing_after_the_step_that_failed() {
    run(async {
        let host = FakeHost::new();
        host.fails(Call::ChangeFirewall, 1, 1, errno::EBUSY);
        let applied = apply(&host, &[guard(), Step::AddLink(link())]).await;
        assert_eq!(applied.failed.map(|failed| failed.step), Some(guard()));
        assert_eq!(applied.done, []);
        assert_eq!(host.list_links().await.unwrap().len(), 1);
    });
}

#[test]
fn says_what_it_could_not_take_back() {
    run(async {
        let host = FakeHost::new();
        host.fails(Call::AddRoute, 1, 1, errno::ENOMEM);
        host.fails(Call::RemoveLink, 1, 1, errno::EBUSY);
        let applied = apply(
            &host,
            &[
                Step::AddLink(link()),
                Step::SetUp(link().name),
                Step::AddRoute(route()),
            ],
        )
        .await;
        assert_eq!(applied.undone, []);
        assert_eq!(applied.stuck.len(), 1);
        assert_eq!(applied.stuck[0].error.errno(), Some(errno::EBUSY));
    });
}

#[test]
fn removing_what_went_with_its_link_is_done_already() {
    run(async {
        let host = FakeHost::new();
        let made = [
            Step::AddLink(link()),
            Step::SetUp(link().name),
            Step::AddRoute(route()),
        ];
        assert_eq!(apply(&host, &made).await.failed, None);
        let applied = apply(
            &host,
            &[Step::RemoveLink(link()), Step::RemoveRoute(route())],
        )
        .await;
        assert_eq!(applied.failed, None);
        assert_eq!(host.list_routes().await.unwrap(), BTreeSet::new());
    });
}

#[test]
fn a_part_that_cannot_be_read_is_named_and_hides_no_other_part() {
    run(async {
        let host = FakeHost::new();
        host.fails(Call::ListRoutes, 1, 1, errno::ENOBUFS);
        let reading: Reading = observe(&host).await;
        assert_eq!(
            reading
                .unread()
                .iter()
                .map(|unread| unread.part)
                .collect::<Vec<_>>(),
            [Part::Routes]
        );
        assert!(reading.firewall.is_ok() && reading.locks.is_ok());
        assert_eq!(reading.whole().unwrap_err().part, Part::Routes);
        assert!(observe(&host).await.whole().is_ok());
    });
}

#[test]
fn a_tunnel_that_does_not_answer_properly_is_silent_and_the_rest_is_read() {
    run(async {
        let host = FakeHost::new();
        let config = TunnelConfig {
            interface: link().name,
            listen_port: None,
            fwmark: 0x70,
            own_key: None,
            peers: Vec::new(),
        };
        host.starts_the_tunnel_process(
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
                .parse()
                .unwrap(),
        );
        let made = [
            Step::AddLink(link()),
            Step::SetUp(link().name),
            Step::ConfigureTunnel(config),
        ];
        assert_eq!(apply(&host, &made).await.failed, None);
        host.fails(Call::ReadTunnel, 1, 1, errno::EINVAL);
        let reading = observe(&host).await;
        assert!(reading.silent.contains_key(&link().name) && reading.tunnels.is_empty());
        assert_eq!(reading.whole().unwrap().tunnels.len(), 0);
        assert_eq!(observe(&host).await.whole().unwrap().tunnels.len(), 1);
        host.kills_the_tunnel_process();
        assert_eq!(observe(&host).await.whole().unwrap().tunnels.len(), 0);
    });
}
