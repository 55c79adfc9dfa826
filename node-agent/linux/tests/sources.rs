//! What each source of a limit sent, read of the kernel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::collections::BTreeMap;
use std::net::UdpSocket;

use namespace::{host, run, within};
use postern_plan::ruleset::SourceCount;

#[test]
fn each_source_has_what_it_sent_and_one_without_a_counter_and_a_set_that_is_not_there_have_none() {
    within(|| async {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        run("ip", &["link", "set", "lo", "up"]);
        assert!(host.source_counts("limit_4").await.unwrap().is_empty());
        let commands = [
            "add table inet postern",
            "add set inet postern limit_4 { type ipv4_addr; size 65536; flags dynamic,timeout; timeout 1m; }",
            "add set inet postern limit_6 { type ipv6_addr; size 65536; flags dynamic,timeout; timeout 1m; counter; }",
            "add set inet postern plain_4 { type ipv4_addr; }",
            "add element inet postern plain_4 { 127.0.0.9 }",
            "add chain inet postern c { type filter hook output priority 0; }",
            "add rule inet postern c udp dport 9 update @limit_4 { ip saddr counter limit rate over 1000/second }",
            "add rule inet postern c udp dport 9 update @limit_6 { ip6 saddr }",
        ];
        for command in commands {
            run("nft", &[command]);
        }
        assert!(host.source_counts("no_such_set").await.unwrap().is_empty());
        assert!(host.source_counts("plain_4").await.unwrap().is_empty());
        assert!(host.source_counts("limit_4").await.unwrap().is_empty());
        for (from, to) in [
            ("127.0.0.1:0", "127.0.0.1:9"),
            ("127.0.0.2:0", "127.0.0.1:9"),
            ("[::1]:0", "[::1]:9"),
        ] {
            for _ in 0..3 {
                let socket = UdpSocket::bind(from).unwrap();
                socket.send_to(b"more", to).unwrap();
            }
        }
        let count = |bytes| SourceCount { packets: 3, bytes };
        let four = ["127.0.0.1", "127.0.0.2"].map(|one| (one.parse().unwrap(), count(3 * 32)));
        let found = host.source_counts("limit_4").await.unwrap();
        assert_eq!(found, BTreeMap::from(four));
        let six = [("::1".parse().unwrap(), count(3 * 52))];
        let found = host.source_counts("limit_6").await.unwrap();
        assert_eq!(found, BTreeMap::from(six));
    });
}
