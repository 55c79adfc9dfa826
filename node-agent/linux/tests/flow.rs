//! Connection tracking with packets that flow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};

use namespace::{host, run, within};
use postern_host::{Flows as _, Protocol};
use postern_linux::LinuxHost;

/// Everything for port 53 goes to 5300, and conntrack is on.
const REDIRECT: &str = "table inet t { chain p { type nat hook output priority -110; udp dport 53 redirect to :5300; }; }";

/// A packet from a fresh socket to a resolver that is not there.
fn question(from: &str, to: &str) -> SocketAddr {
    let socket = UdpSocket::bind(from).unwrap();
    socket.send_to(b"?", to).unwrap();
    socket.local_addr().unwrap()
}

fn redirected(test: impl AsyncFnOnce(LinuxHost) + Send + 'static) {
    within(|| async move {
        run("ip", &["link", "set", "lo", "up"]);
        run("nft", &[REDIRECT]);
        let folder = tempfile::tempdir().unwrap();
        test(host(folder.path()).await).await;
    });
}

#[test]
fn finds_where_a_redirected_packet_wanted_to_go() {
    redirected(async |host| {
        for (from, to, local) in [
            ("127.0.0.1:0", "127.0.0.9:53", "127.0.0.1:5300"),
            ("[::1]:0", "[::1]:53", "[::1]:5300"),
        ] {
            let source = question(from, to);
            let found = host
                .original_destination(Protocol::Udp, source, local.parse().unwrap())
                .await
                .unwrap();
            assert_eq!(found, Some(to.parse().unwrap()));
        }
    });
}

#[test]
fn finds_it_for_a_dual_stack_socket_too() {
    redirected(async |host| {
        let source = question("127.0.0.1:0", "127.0.0.9:53");
        let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{}", source.port())
            .parse()
            .unwrap();
        let local = "[::ffff:127.0.0.1]:5300".parse().unwrap();
        let found = host
            .original_destination(Protocol::Udp, mapped, local)
            .await
            .unwrap();
        assert_eq!(found, Some("127.0.0.9:53".parse().unwrap()));
    });
}

#[test]
fn cuts_flows_of_an_address_in_either_direction_and_leaves_others() {
    redirected(async |host| {
        question("127.0.0.2:0", "127.0.0.9:7000");
        question("127.0.0.8:0", "127.0.0.2:7000");
        question("127.0.0.8:0", "127.0.0.9:7000");
        question("[::1]:0", "[::1]:7000");
        let pod = BTreeSet::from(["127.0.0.2".parse().unwrap()]);
        assert_eq!(host.cut_flows(&pod).await.unwrap(), 2);
        assert_eq!(host.cut_flows(&pod).await.unwrap(), 0);
        let both = BTreeSet::from(["127.0.0.8".parse().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(host.cut_flows(&both).await.unwrap(), 2);
    });
}

/// Redirected replies come from an address that is in the reply tuple only.
#[test]
fn cuts_a_flow_by_an_address_that_only_its_replies_have() {
    redirected(async |host| {
        run("ip", &["addr", "add", "10.9.9.9/32", "dev", "lo"]);
        run(
            "nft",
            &[
                "flush ruleset; table ip t { chain o { type nat hook output priority -110; udp dport 54 dnat to 10.9.9.9; }; }",
            ],
        );
        question("127.0.0.1:0", "127.0.0.9:54");
        assert_eq!(
            host.cut_flows(&["10.9.9.9".parse().unwrap()].into())
                .await
                .unwrap(),
            1
        );
    });
}
