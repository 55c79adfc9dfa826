//! Connection tracking with packets that flow.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::net::{SocketAddr, UdpSocket};

use namespace::{host, run, within};
use postern_host::{Flows as _, TransportProtocol};
use postern_linux::LinuxHost;
use postern_plan::FlowCut;
use postern_plan::flow::CutExtent;

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
                .original_destination(TransportProtocol::Udp, source, local.parse().unwrap())
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
            .original_destination(TransportProtocol::Udp, mapped, local)
            .await
            .unwrap();
        assert_eq!(found, Some("127.0.0.9:53".parse().unwrap()));
    });
}

/// Redirected replies come from an address that is in the reply tuple only.
#[test]
fn cuts_a_flow_of_packets_by_either_end_and_by_an_address_that_only_its_replies_have() {
    redirected(async |host| {
        run("ip", &["addr", "add", "10.9.9.9/32", "dev", "lo"]);
        run(
            "nft",
            &[
                "flush ruleset; table ip t { chain o { type nat hook output priority -110; udp dport 54 dnat to 10.9.9.9; }; }",
            ],
        );
        for (from, to, cut_by) in [
            ("127.0.0.1:0", "127.0.0.9:54", "10.9.9.9"),
            ("127.0.0.2:0", "127.0.0.9:7000", "127.0.0.2"),
            ("127.0.0.8:0", "127.0.0.3:7000", "127.0.0.3"),
        ] {
            question(from, to);
            let cut = FlowCut {
                addresses: [(cut_by.parse().unwrap(), CutExtent::Outgoing)].into(),
                ..FlowCut::default()
            };
            assert_eq!(host.cut_flows(&cut).await.unwrap(), 1, "{cut_by}");
            assert_eq!(host.cut_flows(&cut).await.unwrap(), 0, "{cut_by}");
        }
    });
}
