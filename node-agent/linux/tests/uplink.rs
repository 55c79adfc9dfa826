//! What is read of links of the host, on the kernel: as root, in namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use namespace::{host, run, within};
use postern_host::ports::Uplinks as _;
use postern_plan::host::TcpSession;

#[test]
fn an_address_that_ends_by_itself_is_not_put_back_and_one_that_stays_is() {
    within(async || {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        run("ip", &["link", "add", "up0", "type", "veth"]);
        run("ip", &["link", "set", "up0", "up"]);
        let address = ["-6", "address", "add", "2001:db8::5/64", "dev", "up0"];
        run("ip", &address);
        let learned = ["-6", "address", "add", "2001:db8::6/64", "dev", "up0"];
        let lives = ["valid_lft", "1000", "preferred_lft", "500"];
        run("ip", &[&learned[..], &lives].concat());
        let config = host.link_config(&"up0".parse().unwrap()).await.unwrap();
        assert_eq!(config.addresses, ["2001:db8::5/64".parse().unwrap()]);
    });
}

#[test]
fn a_connection_to_the_address_of_a_service_is_found_as_it_is_sent() {
    within(async || {
        let folder = tempfile::tempdir().unwrap();
        let host = host(folder.path()).await;
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["address", "add", "192.0.2.9/32", "dev", "lo"]);
        let rules = "add table ip nat; add chain ip nat out { type nat hook output priority -100; }; \
                     add rule ip nat out ip daddr 10.96.0.1 tcp dport 443 dnat to 192.0.2.9:6443";
        run("nft", &[rules]);
        run("ip", &["route", "add", "10.96.0.0/16", "dev", "lo"]);
        let server = std::net::TcpListener::bind("192.0.2.9:6443").unwrap();
        let client = std::net::TcpStream::connect("10.96.0.1:443").unwrap();
        let session = TcpSession {
            local: client.local_addr().unwrap(),
            remote: client.peer_addr().unwrap(),
        };
        assert!(host.tcp_sessions().await.unwrap().contains(&session));
        let sent = host.as_sent(&session).await.unwrap().unwrap();
        assert_eq!(sent.local, session.local);
        assert_eq!(sent.remote, server.local_addr().unwrap());
        let unknown = TcpSession {
            local: session.local,
            remote: "192.0.2.77:1".parse().unwrap(),
        };
        assert_eq!(host.as_sent(&unknown).await.unwrap(), None);
    });
}
