//! Egress addresses on an uplink whose neighbour is in another namespace.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use namespace::{host, run, within};
use postern_host::EgressAddresses as _;
use postern_plan::host::EgressAddress;

/// A namespace with the other end of `v0`, as long as the value lives.
struct Neighbour(Child);

impl Neighbour {
    fn beside_v0() -> Self {
        let child = Command::new("unshare").args(["-n", "sleep", "60"]).spawn();
        let neighbour = Self(child.unwrap());
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", neighbour.0.id());
        let begun = Instant::now();
        while std::fs::read_link(&theirs).unwrap() == own {
            assert!(begun.elapsed() < Duration::from_secs(5), "no namespace");
        }
        let pid = neighbour.0.id().to_string();
        let link = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
        run("ip", &[&link[..], &["netns", &pid]].concat());
        run("ip", &["address", "add", "192.0.2.1/24", "dev", "v0"]);
        let v6 = ["-6", "address", "add", "2001:db8::1/64", "dev", "v0"];
        run("ip", &[&v6[..], &["nodad"]].concat());
        run("ip", &["link", "set", "v0", "up"]);
        neighbour.runs("ip address add 192.0.2.2/24 dev v1");
        neighbour.runs("ip -6 address add 2001:db8::2/64 dev v1 nodad");
        neighbour.runs("ip link set v1 up");
        let begun = Instant::now();
        while run("ip", &["-6", "address", "show", "dev", "v0"]).contains("tentative") {
            assert!(begun.elapsed() < Duration::from_secs(5), "still tentative");
            std::thread::sleep(Duration::from_millis(50));
        }
        neighbour
    }

    fn runs(&self, line: &str) -> String {
        let pid = self.0.id().to_string();
        run("nsenter", &["-t", &pid, "-n", "sh", "-c", line])
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn on_v0(text: &str) -> EgressAddress {
    EgressAddress {
        device: "v0".parse().unwrap(),
        address: text.parse::<IpAddr>().unwrap(),
    }
}

const BOTH: [&str; 2] = ["192.0.2.10", "2001:db8::10"];

fn seconds(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn an_egress_address_is_told_from_addresses_of_others_and_ends_by_itself() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        let _neighbour = Neighbour::beside_v0();
        for text in BOTH {
            let address = on_v0(text);
            host.keep_egress(&address, seconds(60)).await.unwrap();
            let found = host.egress_addresses().await.unwrap();
            assert_eq!(found.keys().collect::<Vec<_>>(), [&address]);
            assert!((58..=60).contains(&found[&address]), "{found:?}");
            // Of two times the later one counts, also where it ends sooner.
            host.keep_egress(&address, seconds(1)).await.unwrap();
            let begun = Instant::now();
            while !host.egress_addresses().await.unwrap().is_empty() {
                assert!(begun.elapsed() < Duration::from_secs(5), "{text} stays");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            host.keep_egress(&address, seconds(60)).await.unwrap();
            host.drop_egress(&address).await.unwrap();
            host.drop_egress(&address).await.unwrap();
            assert_eq!(host.egress_addresses().await.unwrap(), BTreeMap::new());
        }
        assert!(run("ip", &["address", "show", "dev", "v0"]).contains("192.0.2.1/24"));
    });
}

#[test]
fn the_node_itself_never_leaves_with_an_egress_address() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        let _neighbour = Neighbour::beside_v0();
        for text in ["192.0.2.3", "2001:db8::3"] {
            host.keep_egress(&on_v0(text), seconds(60)).await.unwrap();
        }
        for default in [["-4", "192.0.2.2"], ["-6", "2001:db8::2"]] {
            let [family, gateway] = default;
            run("ip", &[family, "route", "add", "default", "via", gateway]);
        }
        for (to, from) in [
            ("192.0.2.2", "192.0.2.1"),
            ("198.51.100.1", "192.0.2.1"),
            ("2001:db8::2", "2001:db8::1"),
            ("2001:db8:99::1", "2001:db8::1"),
        ] {
            let route = run("ip", &["route", "get", to]);
            assert!(route.contains(&format!("src {from} ")), "{route}");
        }
    });
}

#[test]
fn a_neighbour_that_has_the_address_is_found_and_one_that_has_not_is_none() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        let neighbour = Neighbour::beside_v0();
        for text in BOTH {
            assert_eq!(host.ask_neighbours(&on_v0(text)).await.unwrap(), None);
        }
        neighbour.runs("ip address add 192.0.2.10/24 dev v1");
        neighbour.runs("ip -6 address add 2001:db8::10/64 dev v1 nodad");
        for text in BOTH {
            let found = host.ask_neighbours(&on_v0(text)).await.unwrap();
            let found = found.expect("the neighbour has the address").to_string();
            let shown = neighbour.runs("ip link show v1");
            assert!(shown.contains(&found), "{text}: {found}");
        }
        // What the kernel knew of before is no answer.
        neighbour.runs("ip address delete 192.0.2.10/24 dev v1");
        neighbour.runs("ip -6 address delete 2001:db8::10/64 dev v1");
        for text in BOTH {
            let known = ["neighbour", "replace", text, "lladdr", "02:00:00:00:00:99"];
            run("ip", &[&known[..], &["dev", "v0", "nud", "stale"]].concat());
            assert_eq!(host.ask_neighbours(&on_v0(text)).await.unwrap(), None);
        }
    });
}

#[test]
fn an_announcement_changes_what_neighbours_know() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        let neighbour = Neighbour::beside_v0();
        let own = run("ip", &["-br", "link", "show", "v0"]);
        let own = own.split_whitespace().nth(2).unwrap().to_owned();
        for text in BOTH {
            let former =
                format!("ip neighbour replace {text} lladdr 02:00:00:00:00:99 dev v1 nud stale");
            neighbour.runs(&former);
            host.keep_egress(&on_v0(text), seconds(60)).await.unwrap();
            host.announce_egress(&on_v0(text)).await.unwrap();
            let begun = Instant::now();
            while !neighbour
                .runs("ip neighbour show")
                .contains(&format!("{text} dev v1 lladdr {own}"))
            {
                assert!(
                    begun.elapsed() < Duration::from_secs(3),
                    "{text}: {}",
                    neighbour.runs("ip neighbour show")
                );
                // An entry is locked for a second after it changed (`locktime`).
                tokio::time::sleep(Duration::from_millis(300)).await;
                host.announce_egress(&on_v0(text)).await.unwrap();
            }
        }
    });
}
