//! WireGuard's generic netlink messages as bytes. Numbers are in the host's byte order but for ports of endpoints.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use postern_host::error::HostCause;
use postern_intent::credential::SecretBytes;
use postern_intent::{IfName, Prefix, WgKey};
use postern_plan::host::{ObservedPeer, ObservedTunnel, TunnelPeer};

use crate::netlink::{attribute, attributes, nest, put, u16_at, u32_at};
use crate::tunnel::change::TunnelChange;

/// `GENL_ID_CTRL`.
pub(super) const CONTROLLER: u16 = 0x10;
/// `CTRL_CMD_GETFAMILY`, version 1.
const GET_FAMILY: [u8; 4] = [3, 1, 0, 0];
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `WG_CMD_GET_DEVICE` and `WG_CMD_SET_DEVICE`, version 1.
const GET_DEVICE: [u8; 4] = [0, 1, 0, 0];
const SET_DEVICE: [u8; 4] = [1, 1, 0, 0];
/// `struct genlmsghdr`.
const HEADER: usize = 4;

const DEVICE_NAME: u16 = 2;
const DEVICE_PRIVATE_KEY: u16 = 3;
const DEVICE_PUBLIC_KEY: u16 = 4;
const DEVICE_PORT: u16 = 6;
const DEVICE_MARK: u16 = 7;
const DEVICE_PEERS: u16 = 8;

const PEER_KEY: u16 = 1;
const PEER_PRESHARED_KEY: u16 = 2;
const PEER_FLAGS: u16 = 3;
const PEER_ENDPOINT: u16 = 4;
const PEER_KEEPALIVE: u16 = 5;
const PEER_HANDSHAKE: u16 = 6;
const PEER_RECEIVED: u16 = 7;
const PEER_SENT: u16 = 8;
const PEER_PREFIXES: u16 = 9;
/// `WGPEER_F_REMOVE_ME` and `WGPEER_F_REPLACE_ALLOWEDIPS`.
const REMOVE_ME: u32 = 1;
const REPLACE_PREFIXES: u32 = 2;

const PREFIX_FAMILY: u16 = 1;
const PREFIX_ADDRESS: u16 = 2;
const PREFIX_LENGTH: u16 = 3;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Prefixes of a peer in one message; each takes at most 40 bytes.
const PREFIXES: usize = 1000;

/// Asks for the number of the `wireguard` family.
pub(super) fn get_family() -> Vec<u8> {
    let mut out = GET_FAMILY.to_vec();
    put(&mut out, FAMILY_NAME, b"wireguard\0");
    out
}

/// The number in the answer.
pub(super) fn family_number(body: &[u8]) -> Option<u16> {
    u16_at(attribute(body.get(HEADER..)?, FAMILY_ID)?, 0)
}

/// Asks for a device.
pub(super) fn get(device: &IfName) -> Vec<u8> {
    head(GET_DEVICE, device)
}

fn head(command: [u8; 4], device: &IfName) -> Vec<u8> {
    let mut out = command.to_vec();
    put(&mut out, DEVICE_NAME, format!("{device}\0").as_bytes());
    out
}

/// The messages of a change.
pub(super) fn set(device: &IfName, change: &TunnelChange<'_>) -> Vec<Vec<u8>> {
    let mut out = head(SET_DEVICE, device);
    match change {
        TunnelChange::Key(key) => put(&mut out, DEVICE_PRIVATE_KEY, &key.bytes()),
        TunnelChange::Port(port) => put(&mut out, DEVICE_PORT, &port.to_ne_bytes()),
        TunnelChange::Mark(mark) => put(&mut out, DEVICE_MARK, &mark.to_ne_bytes()),
        TunnelChange::RemovePeer(key) => one_peer(&mut out, |peer| {
            put(peer, PEER_KEY, key.bytes());
            put(peer, PEER_FLAGS, &REMOVE_ME.to_ne_bytes());
        }),
        TunnelChange::SetPeer(peer, preshared) => return set_peer(&out, peer, *preshared),
    }
    vec![out]
}

fn one_peer(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    nest(out, DEVICE_PEERS, |list| nest(list, 0, fill));
}

/// The first message replaces the peer's prefixes, the others add to them.
fn set_peer(head: &[u8], peer: &TunnelPeer, preshared: Option<&SecretBytes>) -> Vec<Vec<u8>> {
    let mut first = head.to_vec();
    let mut parts = peer.allowed_ips.chunks(PREFIXES);
    let begin = parts.next().unwrap_or_default();
    one_peer(&mut first, |out| {
        put(out, PEER_KEY, peer.public_key.bytes());
        put(out, PEER_FLAGS, &REPLACE_PREFIXES.to_ne_bytes());
        if let Some(key) = preshared {
            put(out, PEER_PRESHARED_KEY, key.expose());
        }
        if let Some(endpoint) = peer.endpoint {
            put(out, PEER_ENDPOINT, &socket_address(endpoint));
        }
        put(
            out,
            PEER_KEEPALIVE,
            &peer.keepalive_seconds.unwrap_or(0).to_ne_bytes(),
        );
        put_prefixes(out, begin);
    });
    let more = parts.map(|part| {
        let mut message = head.to_vec();
        one_peer(&mut message, |out| {
            put(out, PEER_KEY, peer.public_key.bytes());
            put_prefixes(out, part);
        });
        message
    });
    std::iter::once(first).chain(more).collect()
}

fn put_prefixes(out: &mut Vec<u8>, prefixes: &[Prefix]) {
    nest(out, PEER_PREFIXES, |list| {
        for prefix in prefixes {
            nest(list, 0, |one| match prefix.net() {
                IpNet::V4(net) => put_prefix(one, AF_INET, &net.addr().octets(), net.prefix_len()),
                IpNet::V6(net) => put_prefix(one, AF_INET6, &net.addr().octets(), net.prefix_len()),
            });
        }
    });
}

fn put_prefix(out: &mut Vec<u8>, family: u16, octets: &[u8], length: u8) {
    put(out, PREFIX_FAMILY, &family.to_ne_bytes());
    put(out, PREFIX_ADDRESS, octets);
    put(out, PREFIX_LENGTH, &[length]);
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn socket_address(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [
            &AF_INET.to_ne_bytes()[..],
            &port,
            &v4.ip().octets(),
            &[0; 8],
        ]
        .concat(),
        SocketAddr::V6(v6) => {
            let (flow, scope) = (v6.flowinfo().to_ne_bytes(), v6.scope_id().to_ne_bytes());
            [
                &AF_INET6.to_ne_bytes()[..],
                &port,
                &flow,
                &v6.ip().octets(),
                &scope,
            ]
            .concat()
        }
    }
}

/// A device from the messages of its listing. A peer with many prefixes goes on in the next message under the same key.
pub(super) fn device(name: &IfName, messages: &[&[u8]]) -> Result<ObservedTunnel, HostCause> {
    let mut out = ObservedTunnel {
        interface: name.clone(),
        public_key: None,
        listen_port: 0,
        fwmark: 0,
        peers: Vec::new(),
    };
    let mut peers: BTreeMap<WgKey, ObservedPeer> = BTreeMap::new();
    for (kind, value) in messages
        .iter()
        .flat_map(|body| attributes(body.get(HEADER..).unwrap_or_default()))
    {
        match kind {
            DEVICE_PUBLIC_KEY => out.public_key = key(value),
            DEVICE_PORT => out.listen_port = u16_at(value, 0).unwrap_or_default(),
            DEVICE_MARK => out.fwmark = u32_at(value, 0).unwrap_or_default(),
            DEVICE_PEERS => attributes(value)
                .iter()
                .try_for_each(|(_, body)| merge(&mut peers, body))?,
            _ => {}
        }
    }
    out.peers = peers.into_values().collect();
    for seen in &mut out.peers {
        seen.peer.allowed_ips.sort();
    }
    Ok(out)
}

fn key(value: &[u8]) -> Option<WgKey> {
    WgKey::from_bytes(value.try_into().ok()?).ok()
}

fn merge(peers: &mut BTreeMap<WgKey, ObservedPeer>, body: &[u8]) -> Result<(), HostCause> {
    let public_key = attribute(body, PEER_KEY)
        .and_then(key)
        .ok_or(HostCause::Answer {
            what: "a peer without a usable key",
        })?;
    let seen = peers.entry(public_key).or_insert_with(|| ObservedPeer {
        peer: TunnelPeer {
            public_key,
            endpoint: None,
            allowed_ips: Vec::new(),
            keepalive_seconds: None,
        },
        last_handshake: None,
        received: 0,
        sent: 0,
    });
    for (kind, value) in attributes(body) {
        match kind {
            PEER_ENDPOINT => seen.peer.endpoint = endpoint(value),
            PEER_KEEPALIVE => {
                seen.peer.keepalive_seconds = u16_at(value, 0).filter(|seconds| *seconds != 0)
            }
            PEER_HANDSHAKE => seen.last_handshake = handshake(value),
            PEER_RECEIVED => seen.received = u64_at(value, 0).unwrap_or_default(),
            PEER_SENT => seen.sent = u64_at(value, 0).unwrap_or_default(),
            PEER_PREFIXES => {
                seen.peer
                    .allowed_ips
                    .extend(attributes(value).iter().filter_map(|(_, one)| prefix(one)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// `struct __kernel_timespec`; all zero before the first handshake.
fn handshake(value: &[u8]) -> Option<Timestamp> {
    let (seconds, nanoseconds) = (
        u64_at(value, 0)?.cast_signed(),
        u64_at(value, 8)?.cast_signed(),
    );
    if (seconds, nanoseconds) == (0, 0) {
        return None;
    }
    Timestamp::from_second(seconds)
        .ok()?
        .checked_add(SignedDuration::from_nanos(nanoseconds))
        .ok()
}

fn endpoint(value: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(value.get(2..4)?.try_into().ok()?);
    match u16_at(value, 0)? {
        AF_INET => Some(
            (
                Ipv4Addr::from(<[u8; 4]>::try_from(value.get(4..8)?).ok()?),
                port,
            )
                .into(),
        ),
        AF_INET6 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(value.get(8..24)?).ok()?);
            Some(SocketAddrV6::new(address, port, u32_at(value, 4)?, u32_at(value, 24)?).into())
        }
        _ => None,
    }
}

fn prefix(one: &[u8]) -> Option<Prefix> {
    let octets = attribute(one, PREFIX_ADDRESS)?;
    let address: IpAddr = match octets.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
        _ => return None,
    };
    let length = *attribute(one, PREFIX_LENGTH)?.first()?;
    Some(Prefix::from(IpNet::new(address, length).ok()?))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
