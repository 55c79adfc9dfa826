//! The kernel's log of packets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed, also in a function that tests share"
)]

mod namespace;

use std::net::UdpSocket;
use std::time::Duration;

use namespace::{run, within};
use postern_linux::{PacketLogEvent, read_packet_log};
use postern_plan::ruleset::RECORD_GROUP;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

async fn next(log: &mut Receiver<PacketLogEvent>) -> PacketLogEvent {
    let event = timeout(Duration::from_secs(20), log.recv()).await;
    event.expect("an event in time").unwrap()
}

#[test]
fn a_group_that_another_program_reads_is_read_when_that_one_has_ended() {
    within(|| async {
        run("ip", &["link", "set", "lo", "up"]);
        let mut first = read_packet_log();
        assert_eq!(next(&mut first).await, PacketLogEvent::Begun);
        let mut second = read_packet_log();
        assert_eq!(next(&mut second).await, PacketLogEvent::Missing);
        drop(first);
        while next(&mut second).await != PacketLogEvent::Begun {}
        let rule =
            format!("add rule inet t c udp dport 9 log prefix \"here\" group {RECORD_GROUP}");
        for command in [
            "add table inet t",
            "add chain inet t c { type filter hook output priority 0; }",
            &rule,
        ] {
            run("nft", &[command]);
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"more", "127.0.0.1:9").unwrap();
        let event = next(&mut second).await;
        assert!(
            matches!(&event, PacketLogEvent::Packet(packet) if packet.name == "here"),
            "{event:?}"
        );
    });
}
