//! The kernel answers with the attributes that it is set with, so what is written here can be read here. The kernel
//! itself is asked in the virtual machine: this one has no WireGuard.

use super::*;
use crate::tunnel::key::PrivateKey;

fn name() -> IfName {
    "pst-c-eu".parse().unwrap()
}

fn peer(prefixes: usize) -> TunnelPeer {
    let prefix = |n: usize| format!("10.{}.{}.0/24", n / 256, n % 256).parse().unwrap();
    TunnelPeer {
        public_key: PrivateKey::from_bytes([3; 32]).public().unwrap(),
        endpoint: Some("[2001:db8::1]:51850".parse().unwrap()),
        allowed_ips: (0..prefixes).map(prefix).collect(),
        keepalive_seconds: Some(5),
    }
}

fn read(messages: &[Vec<u8>]) -> ObservedTunnel {
    let bodies: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    device(&name(), &bodies).unwrap()
}

#[test]
fn a_peer_is_read_as_it_was_written() {
    for wanted in [
        peer(0),
        peer(2),
        TunnelPeer {
            endpoint: Some("192.0.2.1:51850".parse().unwrap()),
            ..peer(1)
        },
    ] {
        let seen = read(&set(&name(), &TunnelChange::SetPeer(&wanted, None)));
        assert_eq!(
            seen.peers
                .iter()
                .map(|seen| seen.peer.clone())
                .collect::<Vec<_>>(),
            [wanted]
        );
    }
}

#[test]
fn a_peer_with_many_prefixes_is_written_in_parts_and_read_as_one() {
    let wanted = peer(2500);
    let messages = set(&name(), &TunnelChange::SetPeer(&wanted, None));
    assert_eq!(messages.len(), 3);
    assert!(
        messages
            .iter()
            .all(|message| message.len() < usize::from(u16::MAX))
    );
    let seen = read(&messages);
    assert_eq!(seen.peers.len(), 1);
    assert_eq!(seen.peers[0].peer.allowed_ips.len(), 2500);
}

#[test]
fn a_device_has_its_port_and_mark() {
    let messages = [TunnelChange::Port(51850), TunnelChange::Mark(0x70)]
        .iter()
        .flat_map(|change| set(&name(), change));
    let seen = read(&messages.collect::<Vec<_>>());
    assert_eq!((seen.listen_port, seen.fwmark), (51850, 0x70));
}

/// `WG_CMD_SET_DEVICE` version 1, then `WGDEVICE_A_IFNAME` and `WGDEVICE_A_FWMARK` of `wireguard.h`.
#[test]
fn a_mark_is_written_byte_for_byte() {
    let wanted =
        b"\x01\x01\x00\x00\x0d\x00\x02\x00pst-c-eu\x00\x00\x00\x00\x08\x00\x07\x00\x70\x00\x00\x00";
    assert_eq!(set(&name(), &TunnelChange::Mark(0x70)), [wanted.to_vec()]);
}

#[test]
fn no_handshake_yet_is_none() {
    assert_eq!(handshake(&[0; 16]), None);
    let mut value = 1_511_888_000_u64.to_ne_bytes().to_vec();
    value.extend(5_u64.to_ne_bytes());
    assert_eq!(
        handshake(&value),
        Some("2017-11-28T16:53:20.000000005Z".parse().unwrap())
    );
}
