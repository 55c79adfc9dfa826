//! Notifications of the kernel about changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use namespace::{host, run, within};
use postern_host::{EgressAddresses as _, Firewall as _};
use postern_linux::{KernelChange, LinuxHost, watch};
use postern_plan::host::EgressAddress;

/// Events until the wanted one; other events may come before it.
async fn told(events: &mut tokio::sync::mpsc::Receiver<KernelChange>, wanted: KernelChange) {
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
        told(&mut events, KernelChange::Link).await;
        run("ip", &["addr", "add", "10.1.1.1/24", "dev", "v0"]);
        told(&mut events, KernelChange::Address).await;
        run(
            "ip",
            &["route", "add", "unreachable", "10.2.0.0/16", "proto", "200"],
        );
        told(&mut events, KernelChange::Route).await;
        run(
            "ip",
            &["-6", "rule", "add", "fwmark", "0x10/0x70", "table", "5210"],
        );
        told(&mut events, KernelChange::Rule).await;
        run("nft", &["add", "table", "inet", "postern"]);
        told(&mut events, KernelChange::Firewall).await;
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
        told(&mut events, KernelChange::Lock).await;
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
        assert_eq!(first, Ok(Some(KernelChange::Link)));
    });
}

#[test]
fn says_nothing_of_grants_that_come_and_go_and_tells_every_other_element() {
    within(|| async {
        let set = |name: &str| {
            format!("add set inet postern {name} {{ type ipv4_addr; flags timeout; }}")
        };
        run("nft", &["add table inet postern"]);
        run("nft", &[&set("granted_one_4")]);
        run("nft", &[&set("lease_like")]);
        let mut events = watch().unwrap();
        run(
            "nft",
            &["add element inet postern granted_one_4 { 192.0.2.1 timeout 60s }"],
        );
        run(
            "nft",
            &["delete element inet postern granted_one_4 { 192.0.2.1 }"],
        );
        run("ip", &["link", "set", "lo", "up"]);
        let first = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
        assert_eq!(first, Ok(Some(KernelChange::Link)));
        run(
            "nft",
            &["add element inet postern lease_like { 192.0.2.1 timeout 60s }"],
        );
        told(&mut events, KernelChange::Firewall).await;
    });
}

/// A table of ours that counts what the node sends.
const COUNTING: &str = "table inet postern { counter sent {}; chain c { type filter hook output priority 0; counter name sent; }; }";

/// Reads of our tables, and how many of them listed the tables. Between two reads a packet is sent, so that each listing
/// shows another count.
struct Reader {
    host: LinuxHost,
    socket: UdpSocket,
    reads: usize,
    counts: BTreeSet<u64>,
}

impl Reader {
    async fn reads(&mut self) {
        self.socket.send_to(b"x", "127.0.0.1:9").unwrap();
        let table = self.host.read_firewall().await.unwrap().inet.unwrap();
        self.counts.insert(table.counters["sent"]);
        self.reads += 1;
    }
}

/// Ours are read as the agent reads them: twice at each event and at each tick of a timer.
#[test]
fn while_another_program_edits_its_table_ten_times_a_second_ours_are_listed_for_the_timer_only() {
    within(|| async {
        run("ip", &["link", "set", "lo", "up"]);
        run("nft", &[COUNTING]);
        run(
            "nft",
            &["add table inet somebody; add chain inet somebody c"],
        );
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader {
            host: host(folder.path()).await,
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            reads: 0,
            counts: BTreeSet::new(),
        };
        let begun = Instant::now();
        for _ in 0..20 {
            reader.reads().await;
        }
        let seconds = begun.elapsed().as_secs() as usize;
        let listed = reader.counts.len();
        assert!((1..=2 + seconds).contains(&listed), "{listed} of 20 reads");

        let mut events = watch().unwrap();
        let mut edits = tokio::time::interval(Duration::from_millis(100));
        let mut timer = tokio::time::interval(Duration::from_secs(1));
        (reader.reads, reader.counts) = (0, BTreeSet::new());
        let (mut edited, mut ticks, mut told) = (0, 0, 0);
        while edited < 40 {
            tokio::select! {
                _ = edits.tick() => {
                    run("nft", &["add rule inet somebody c accept"]);
                    edited += 1;
                    continue;
                }
                Some(_) = events.recv() => told += 1,
                _ = timer.tick() => ticks += 1,
            }
            reader.reads().await;
            reader.reads().await;
        }
        let listed = reader.counts.len();
        assert_eq!(told, 0, "{listed} listings for {edited} edits");
        assert!(
            (1..=2 * ticks).contains(&listed),
            "{listed} for {ticks} ticks"
        );
        run("nft", &["add chain inet postern d"]);
        self::told(&mut events, KernelChange::Firewall).await;
    });
}

/// It is prolonged every few seconds, and its own task reports a new one.
#[test]
fn an_egress_address_of_ours_is_no_event() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        let pair = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
        run("ip", &pair);
        let mut events = watch().unwrap();
        let ours = EgressAddress {
            device: "v0".parse().unwrap(),
            address: "192.0.2.10".parse().unwrap(),
        };
        let seconds = 20.try_into().unwrap();
        host.keep_egress(&ours, seconds).await.unwrap();
        // Events come in the order of the changes.
        run(
            "ip",
            &["rule", "add", "fwmark", "0x10/0x70", "table", "5210"],
        );
        let mut before = Vec::new();
        while before.last() != Some(&KernelChange::Rule) {
            before.push(events.recv().await.unwrap());
        }
        assert!(!before.contains(&KernelChange::Address), "{before:?}");
    });
}
