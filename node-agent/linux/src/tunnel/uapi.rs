//! The words of the cross-platform userspace protocol (<https://www.wireguard.com/xplatform/>): `key=value` lines, keys
//! in lower-case hex, an empty line at the end.

use std::fmt::Write as _;

use ipnet::IpNet;
use jiff::Timestamp;
use postern_host::error::HostCause;
use postern_intent::credential::SecretBytes;
use postern_intent::{IfName, Prefix, WgKey};
use postern_plan::host::{ObservedPeer, ObservedTunnel, TunnelPeer};

use super::change::TunnelChange;
use super::key::PrivateKey;

pub(super) const GET: &str = "get=1\n\n";

/// A `set` operation of some changes.
pub(super) fn set(changes: &[TunnelChange<'_>]) -> String {
    let mut out = "set=1\n".to_owned();
    for change in changes {
        match change {
            TunnelChange::RemovePeer(key) => line(
                &mut out,
                &format!("public_key={}\nremove=true", hex(key.bytes())),
            ),
            TunnelChange::Key(key) => line(&mut out, &format!("private_key={}", hex(&key.bytes()))),
            TunnelChange::Port(port) => line(&mut out, &format!("listen_port={port}")),
            TunnelChange::Mark(mark) => line(&mut out, &format!("fwmark={mark}")),
            TunnelChange::SetPeer(peer, preshared) => set_peer(&mut out, peer, *preshared),
        }
    }
    out.push('\n');
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn set_peer(out: &mut String, peer: &TunnelPeer, preshared: Option<&SecretBytes>) {
    line(out, &format!("public_key={}", hex(peer.public_key.bytes())));
    if let Some(key) = preshared {
        line(out, &format!("preshared_key={}", hex(key.expose())));
    }
    if let Some(endpoint) = peer.endpoint {
        line(out, &format!("endpoint={endpoint}"));
    }
    line(
        out,
        &format!(
            "persistent_keepalive_interval={}",
            peer.keepalive_seconds.unwrap_or(0)
        ),
    );
    line(out, "replace_allowed_ips=true");
    for prefix in &peer.allowed_ips {
        line(out, &format!("allowed_ip={prefix}"));
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let pairs = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

/// The process's verdict at the end of every answer.
pub(super) fn outcome(answer: &str) -> Result<(), HostCause> {
    let number = answer
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("errno="));
    match number.map(str::parse::<i32>) {
        Some(Ok(0)) => Ok(()),
        // The protocol says positive numbers; wireguard-go sends negative ones.
        Some(Ok(errno)) => Err(HostCause::Errno {
            errno: errno.wrapping_abs(),
        }),
        _ => Err(HostCause::Answer {
            what: "the tunnel process gave no errno",
        }),
    }
}

/// The answer to [`GET`]. Keys that are not known are passed over: implementations add their own.
pub(super) fn parse(device: &IfName, answer: &str) -> Result<ObservedTunnel, HostCause> {
    outcome(answer)?;
    let mut out = ObservedTunnel {
        interface: device.clone(),
        public_key: None,
        listen_port: 0,
        fwmark: 0,
        peers: Vec::new(),
    };
    for (key, value) in answer.lines().filter_map(|line| line.split_once('=')) {
        match key {
            "public_key" => out.peers.push(new_peer(value)?),
            "private_key" => {
                out.public_key =
                    key_bytes(value).and_then(|bytes| PrivateKey::from_bytes(bytes).public())
            }
            "listen_port" => out.listen_port = number(value)?,
            "fwmark" => out.fwmark = number(value)?,
            _ => {
                if let Some(peer) = out.peers.last_mut() {
                    peer_line(peer, key, value)?;
                }
            }
        }
    }
    for seen in &mut out.peers {
        seen.peer.allowed_ips.sort();
    }
    out.peers.sort_by_key(|seen| seen.peer.public_key);
    Ok(out)
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, HostCause> {
    value.parse().map_err(|_| HostCause::Answer {
        what: "the tunnel process gave no number where one should be",
    })
}

fn new_peer(value: &str) -> Result<ObservedPeer, HostCause> {
    let key = key_bytes(value).and_then(|bytes| WgKey::from_bytes(bytes).ok());
    let public_key = key.ok_or(HostCause::Answer {
        what: "the tunnel process gave no usable key",
    })?;
    Ok(ObservedPeer {
        peer: TunnelPeer {
            public_key,
            endpoint: None,
            allowed_ips: Vec::new(),
            keepalive_seconds: None,
        },
        last_handshake: None,
        received: 0,
        sent: 0,
    })
}

fn peer_line(seen: &mut ObservedPeer, key: &str, value: &str) -> Result<(), HostCause> {
    match key {
        "endpoint" => seen.peer.endpoint = value.parse().ok(),
        "allowed_ip" => seen
            .peer
            .allowed_ips
            .extend(value.parse::<IpNet>().ok().map(Prefix::from)),
        "persistent_keepalive_interval" => {
            let seconds: u16 = number(value)?;
            seen.peer.keepalive_seconds = (seconds != 0).then_some(seconds);
        }
        "last_handshake_time_sec" => {
            let seconds: i64 = number(value)?;
            seen.last_handshake = (seconds != 0)
                .then(|| Timestamp::from_second(seconds).ok())
                .flatten();
        }
        "last_handshake_time_nsec" => {
            let nanoseconds: i64 = number(value)?;
            let exact = |at: Timestamp| {
                at.checked_add(jiff::SignedDuration::from_nanos(nanoseconds))
                    .ok()
            };
            seen.last_handshake = seen.last_handshake.and_then(exact);
        }
        "rx_bytes" => seen.received = number(value)?,
        "tx_bytes" => seen.sent = number(value)?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of <https://www.wireguard.com/xplatform/>, shortened, with a key of no protocol version.
    const ANSWER: &str = "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n\
        listen_port=12912\n\
        public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33\n\
        endpoint=[abcd:23::33%2]:51820\n\
        allowed_ip=192.168.4.4/32\n\
        public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376\n\
        tx_bytes=38333\n\
        rx_bytes=2224\n\
        allowed_ip=192.168.4.6/32\n\
        persistent_keepalive_interval=111\n\
        endpoint=182.122.22.19:3233\n\
        last_handshake_time_sec=1511888000\n\
        last_handshake_time_nsec=5\n\
        something_new=1\n\
        errno=0\n";

    fn device() -> IfName {
        "pst-c-eu".parse().unwrap()
    }

    #[test]
    fn reads_every_fact_of_a_peer() {
        let tunnel = parse(&device(), ANSWER).unwrap();
        assert_eq!(tunnel.listen_port, 12912);
        assert!(tunnel.public_key.is_some());
        let seen = tunnel
            .peers
            .iter()
            .find(|seen| seen.received == 2224)
            .unwrap();
        assert_eq!(seen.sent, 38333);
        assert_eq!(seen.peer.keepalive_seconds, Some(111));
        assert_eq!(
            seen.peer.endpoint,
            Some("182.122.22.19:3233".parse().unwrap())
        );
        assert_eq!(seen.peer.allowed_ips, ["192.168.4.6/32".parse().unwrap()]);
        assert_eq!(
            seen.last_handshake,
            Some("2017-11-28T16:53:20.000000005Z".parse().unwrap())
        );
    }

    #[test]
    fn an_error_of_the_process_keeps_its_number_whatever_its_sign() {
        assert_eq!(outcome("errno=22\n"), Err(HostCause::Errno { errno: 22 }));
        assert_eq!(outcome("errno=-22\n"), Err(HostCause::Errno { errno: 22 }));
        assert!(outcome("listen_port=1\n").is_err());
    }

    #[test]
    fn a_set_replaces_what_a_peer_may_send() {
        let private = PrivateKey::from_bytes([1; 32]);
        let peer = TunnelPeer {
            public_key: private.public().unwrap(),
            endpoint: Some("[2001:db8::1]:51850".parse().unwrap()),
            allowed_ips: vec!["10.0.0.0/8".parse().unwrap()],
            keepalive_seconds: None,
        };
        let text = set(&[TunnelChange::Mark(0x70), TunnelChange::SetPeer(&peer, None)]);
        assert!(text.starts_with("set=1\nfwmark=112\npublic_key=a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209\n"));
        assert!(text.ends_with(
            "endpoint=[2001:db8::1]:51850\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\nallowed_ip=10.0.0.0/8\n\n"
        ));
    }
}
