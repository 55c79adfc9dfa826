//! Notifications of the kernel about changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::time::Duration;

use namespace::{run, within};
use postern_linux::{Change, watch};

/// Events until the wanted one; other events may come before it.
async fn told(events: &mut tokio::sync::mpsc::Receiver<Change>, wanted: Change) {
    let found = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(change) = events.recv().await {
            if change == wanted {
                return true;
            }
        }
        false
    });
    assert_eq!(found.await, Ok(true), "no event {wanted:?}");
}

#[test]
fn tells_every_noun_that_changed() {
    within(|| async {
        let mut events = watch().unwrap();
        run(
            "ip",
            &["link", "add", "v0", "type", "veth", "peer", "name", "v1"],
        );
        told(&mut events, Change::Link).await;
        run("ip", &["addr", "add", "10.1.1.1/24", "dev", "v0"]);
        told(&mut events, Change::Address).await;
        run(
            "ip",
            &["route", "add", "unreachable", "10.2.0.0/16", "proto", "200"],
        );
        told(&mut events, Change::Route).await;
        run(
            "ip",
            &["-6", "rule", "add", "fwmark", "0x10/0x70", "table", "5210"],
        );
        told(&mut events, Change::Rule).await;
        run("nft", &["add", "table", "inet", "postern"]);
        told(&mut events, Change::Firewall).await;
        run(
            "ip",
            &[
                "xfrm",
                "policy",
                "add",
                "src",
                "10.0.0.0/8",
                "dst",
                "0.0.0.0/0",
                "dir",
                "fwd",
            ],
        );
        told(&mut events, Change::Lock).await;
    });
}

#[test]
fn says_nothing_of_other_programs_tables_and_routes() {
    within(|| async {
        let mut events = watch().unwrap();
        run("nft", &["add", "table", "inet", "somebody"]);
        run(
            "nft",
            &["add chain inet somebody c; add rule inet somebody c accept"],
        );
        run("ip", &["route", "add", "unreachable", "10.2.0.0/16"]);
        run("nft", &["flush", "ruleset"]);
        // An event that is told, so that whatever came before it was.
        run("ip", &["link", "set", "lo", "up"]);
        let first = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
        assert_eq!(first, Ok(Some(Change::Link)));
    });
}
