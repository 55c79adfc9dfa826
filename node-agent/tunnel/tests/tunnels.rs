//! Real TUNs, real packets, two namespaces; no root is needed where user namespaces are allowed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy sees tests only in test functions, not in what they call"
)]

mod world;

use std::path::Path;

use world::{Keys, Namespace, TunnelProcess, configure, eventually, pair};

const PORT: u16 = 51850;
const MARK: u32 = 0x70;

/// One end: namespace, process, run folder and the name of its TUN.
struct End {
    process: TunnelProcess,
    folder: tempfile::TempDir,
    tun: &'static str,
    number: u8,
}

impl End {
    fn start(namespace: &Namespace, tun: &'static str, number: u8) -> Self {
        make_tun(namespace, tun, number);
        let folder = tempfile::tempdir().unwrap();
        let process = TunnelProcess::start(namespace, folder.path());
        process.request(tun);
        process.wait_until_served(tun);
        Self {
            process,
            folder,
            tun,
            number,
        }
    }

    fn set(&self, request: &str) -> String {
        configure(&self.process.socket(self.tun), request)
    }

    /// Gives the device its key, port, mark and its one peer.
    fn set_peer(&self, endpoint: &str) {
        let peer = 3 - self.number;
        let answer = self.set(&format!(
            "set=1\nprivate_key={}\nlisten_port={PORT}\nfwmark={MARK}\nreplace_peers=true\n\
             public_key={}\nendpoint={endpoint}:{PORT}\nreplace_allowed_ips=true\n\
             allowed_ip=198.18.0.{peer}/32\nallowed_ip=fd00:18::{peer}/128",
            Keys::of(self.number).private,
            Keys::of(peer).public,
        ));
        assert_eq!(answer, "errno=0\n\n");
    }
}

fn make_tun(namespace: &Namespace, tun: &str, number: u8) {
    namespace.run_all(&[
        &format!("ip tuntap add dev {tun} mode tun"),
        &format!("ip address add 198.18.0.{number}/24 dev {tun}"),
        &format!("ip address add fd00:18::{number}/64 dev {tun} nodad"),
        &format!("ip link set {tun} mtu 1420 up"),
    ]);
}

fn ends(left: &Namespace, right: &Namespace) -> (End, End) {
    let ends = (
        End::start(left, "pst-c-left", 1),
        End::start(right, "pst-s-right", 2),
    );
    ends.0.set_peer("192.0.2.2");
    ends.1.set_peer("192.0.2.1");
    ends
}

fn assert_both_families_pass(left: &Namespace) {
    eventually("IPv4 passes the tunnel", || left.pings("198.18.0.2"));
    eventually("IPv6 passes the tunnel", || left.pings("fd00:18::2"));
}

#[test]
fn a_killed_process_leaves_the_tun_and_its_successor_carries_traffic_again() {
    let (left, right) = pair();
    let (mut near, far) = ends(&left, &right);
    assert_both_families_pass(&left);

    near.process.kill();
    let address = left.run("ip -o address show dev pst-c-left");
    assert!(address.contains("198.18.0.1/24"), "{address}");
    assert!(address.contains("fd00:18::1/64"), "{address}");
    assert!(!left.pings("198.18.0.2"));
    assert!(near.process.socket(near.tun).exists());

    near.process = TunnelProcess::start(&left, near.folder.path());
    near.process.wait_until_served(near.tun);
    assert!(!left.pings("198.18.0.2"), "a new process has no keys");
    near.set_peer("192.0.2.2");
    assert_both_families_pass(&left);
    drop(far);
}

#[test]
fn a_tun_that_is_made_again_is_opened_again() {
    let (left, right) = pair();
    let (near, _far) = ends(&left, &right);
    assert_both_families_pass(&left);

    left.run("ip link delete pst-c-left");
    eventually("the socket of the lost TUN goes", || {
        !near.process.socket(near.tun).exists()
    });
    make_tun(&left, near.tun, 1);
    near.process.wait_until_served(near.tun);
    near.set_peer("192.0.2.2");
    assert_both_families_pass(&left);
}

#[test]
fn a_withdrawn_request_closes_the_device_and_leaves_the_tun() {
    let (left, right) = pair();
    let (mut near, _far) = ends(&left, &right);
    assert_both_families_pass(&left);

    near.process.withdraw(near.tun);
    eventually("the socket goes", || {
        !near.process.socket(near.tun).exists()
    });
    left.run("ip link show pst-c-left");
    assert!(!left.pings("198.18.0.2"));
    eventually("the TUN is free for others", || {
        left.try_run("ip tuntap del dev pst-c-left mode tun")
            .status
            .success()
    });
    assert!(near.process.is_running());
}

#[test]
fn sigterm_ends_cleanly_and_leaves_the_tun() {
    let (left, _right) = pair();
    let mut near = End::start(&left, "pst-c-left", 1);
    assert_eq!(near.process.terminate(), Some(0));
    assert!(!near.process.socket(near.tun).exists());
    left.run("ip link show pst-c-left");
}

#[test]
fn a_busy_tun_is_tried_again_until_its_old_process_is_gone() {
    let (left, _right) = pair();
    let mut old = End::start(&left, "pst-c-left", 1);
    let folder = tempfile::tempdir().unwrap();
    let new = TunnelProcess::start(&left, folder.path());
    new.request("pst-c-left");
    new.request("pst-c-free");
    make_tun(&left, "pst-c-free", 9);
    // The tunnel that can be served is served although the other one cannot.
    new.wait_until_served("pst-c-free");
    assert!(!new.socket("pst-c-left").exists());
    old.process.kill();
    new.wait_until_served("pst-c-left");
}

#[test]
fn neither_a_foreign_name_nor_a_missing_interface_is_made_or_opened() {
    let (left, _right) = pair();
    left.run("ip tuntap add dev foreign mode tun");
    let near = End::start(&left, "pst-c-left", 1);
    near.process.request("foreign");
    near.process.request("pst-c-missing");
    near.process.request("pst-s-last");
    make_tun(&left, "pst-s-last", 8);
    near.process.wait_until_served("pst-s-last");
    assert!(!near.process.socket("foreign").exists());
    assert!(!near.process.socket("pst-c-missing").exists());
    assert!(!left.try_run("ip link show pst-c-missing").status.success());
}

#[test]
fn a_request_that_cannot_be_honoured_is_answered_and_does_not_end_the_device() {
    let (left, _right) = pair();
    let near = End::start(&left, "pst-c-left", 1);
    let peer_before_key = format!("set=1\npublic_key={}", Keys::of(2).public);
    assert_eq!(near.set(&peer_before_key), "errno=22\n\n");
    assert_eq!(near.set("set=1\nnonsense=1"), "errno=22\n\n");
    near.set_peer("192.0.2.2");
    let answer = near.set("get=1");
    assert!(answer.contains(&format!("public_key={}", Keys::of(2).public)));
    assert!(answer.ends_with("errno=0\n\n"), "{answer}");
}

#[test]
fn every_packet_of_the_tunnel_carries_the_mark_in_both_families() {
    let (left, right) = pair();
    left.run_all(&[
        "nft add table inet watch",
        "nft add chain inet watch out { type filter hook output priority 0 ; }",
        &format!("nft add rule inet watch out udp sport {PORT} meta mark != {MARK} counter drop"),
        &format!("nft add rule inet watch out udp sport {PORT} meta nfproto ipv4 counter accept"),
        &format!("nft add rule inet watch out udp sport {PORT} meta nfproto ipv6 counter accept"),
    ]);
    let (near, far) = ends(&left, &right);
    assert_both_families_pass(&left);
    near.set_peer("[fd00:2::2]");
    far.set_peer("[fd00:2::1]");
    assert_both_families_pass(&left);
    let rules = left.run("nft list chain inet watch out");
    let packets: Vec<u64> = rules
        .lines()
        .filter_map(|line| line.split("counter packets ").nth(1))
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(packets[0], 0, "unmarked: {rules}");
    assert!(packets[1] > 0 && packets[2] > 0, "marked: {rules}");
}

#[test]
fn the_mark_of_a_device_in_use_can_be_taken_away_and_given_back() {
    let (left, right) = pair();
    left.run_all(&[
        "nft add table inet watch",
        "nft add chain inet watch out { type filter hook output priority 0 ; }",
        &format!("nft add rule inet watch out udp sport {PORT} meta mark != {MARK} drop"),
    ]);
    let (near, _far) = ends(&left, &right);
    assert_both_families_pass(&left);
    for _ in 0..5 {
        assert_eq!(near.set("set=1\nfwmark=0"), "errno=0\n\n");
        assert!(!left.pings("198.18.0.2"), "unmarked packets are dropped");
        assert_eq!(near.set(&format!("set=1\nfwmark={MARK}")), "errno=0\n\n");
        assert_both_families_pass(&left);
    }
}

#[test]
fn a_port_that_is_taken_is_answered_with_its_error_and_can_be_had_later() {
    let (left, _right) = pair();
    let near = End::start(&left, "pst-c-left", 1);
    let squatter = End::start(&left, "pst-c-other", 2);
    let taken = format!(
        "set=1\nprivate_key={}\nlisten_port={PORT}",
        Keys::of(2).private
    );
    assert_eq!(squatter.set(&taken), "errno=0\n\n");
    let request = format!(
        "set=1\nprivate_key={}\nlisten_port={PORT}",
        Keys::of(1).private
    );
    assert_eq!(near.set(&request), "errno=98\n\n");
    drop(squatter);
    near.process.wait_until_served(near.tun);
    assert_eq!(near.set(&request), "errno=0\n\n");
}

#[test]
fn namespaces_and_sockets_are_gone_after_a_test() {
    let (left, right) = pair();
    let holder = left.pid();
    let near = End::start(&left, "pst-c-left", 1);
    let folder = near.folder.path().to_path_buf();
    drop((near, right, left));
    assert!(!Path::new(&format!("/proc/{holder}/ns/net")).exists());
    assert!(!folder.exists());
}

#[test]
fn a_process_that_hangs_is_found_by_the_question_of_its_supervisor() {
    let (left, right) = pair();
    let (mut near, _far) = ends(&left, &right);
    assert_both_families_pass(&left);
    assert_eq!(near.process.asked_whether_alive(), Ok(()));
    near.process.hang();
    let said = near.process.asked_whether_alive();
    assert_eq!(
        said,
        Err("postern-tunnel: no answer from pst-c-left\n".to_owned())
    );
    // What follows an end by the supervisor is a stale socket, which is no reason to end the successor.
    near.process.kill();
    assert_eq!(near.process.asked_whether_alive(), Ok(()));
}

/// The agent renews sessions by this: one request, which an agent that dies cannot leave half done.
#[test]
fn a_peer_that_is_set_again_has_no_session_and_gets_one_by_the_next_packet() {
    let (left, right) = pair();
    let (near, _far) = ends(&left, &right);
    assert_both_families_pass(&left);
    let handshakes = |near: &End| near.set("get=1").contains("last_handshake_time_sec");
    assert!(handshakes(&near));
    let request = format!(
        "set=1\npublic_key={}\nendpoint=192.0.2.2:{PORT}\npersistent_keepalive_interval=0\n\
         replace_allowed_ips=true\nallowed_ip=198.18.0.2/32\nallowed_ip=fd00:18::2/128",
        Keys::of(2).public
    );
    assert_eq!(near.set(&request), "errno=0\n\n");
    assert!(!handshakes(&near));
    assert_both_families_pass(&left);
}
