//! The difference between a device and its configuration, as a list in the order in which it must be made.

use std::collections::BTreeMap;

use postern_intent::WgKey;
use postern_plan::host::{ObservedPeer, ObservedTunnel, TunnelConfig, TunnelPeer};

use super::key::PrivateKey;

/// One change of a device.
#[derive(Debug)]
pub(super) enum TunnelChange<'a> {
    /// A peer goes, with what is staged for it.
    RemovePeer(WgKey),
    /// The device gets a key.
    Key(&'a PrivateKey),
    /// The device gets a port.
    Port(u16),
    /// The device's sockets get a mark.
    Mark(u32),
    /// A peer is added, or set as a whole.
    SetPeer(&'a TunnelPeer),
}

/// What has to be done. Peers that are not named go first, so that nothing staged for them leaves by what comes after.
pub(super) fn changes<'a>(
    observed: &ObservedTunnel,
    config: &'a TunnelConfig,
    key: &'a PrivateKey,
) -> Vec<TunnelChange<'a>> {
    let there: BTreeMap<WgKey, &ObservedPeer> = observed
        .peers
        .iter()
        .map(|seen| (seen.peer.public_key, seen))
        .collect();
    let named = |key: &WgKey| config.peers.iter().any(|peer| peer.public_key == *key);
    let mut out: Vec<TunnelChange<'a>> = there
        .keys()
        .copied()
        .filter(|key| !named(key))
        .map(TunnelChange::RemovePeer)
        .collect();
    if observed.public_key != key.public() {
        out.push(TunnelChange::Key(key));
    }
    if let Some(port) = config
        .listen_port
        .filter(|port| *port != observed.listen_port)
    {
        out.push(TunnelChange::Port(port));
    }
    if config.fwmark != observed.fwmark {
        out.push(TunnelChange::Mark(config.fwmark));
    }
    let wrong = |peer: &&TunnelPeer| {
        there
            .get(&peer.public_key)
            .is_none_or(|seen| !is_right(&seen.peer, peer))
    };
    out.extend(config.peers.iter().filter(wrong).map(TunnelChange::SetPeer));
    out
}

/// Without an endpoint in the configuration any endpoint is right: the other end has come from there. A keepalive of 0
/// is none.
fn is_right(seen: &TunnelPeer, wanted: &TunnelPeer) -> bool {
    let sorted = |peer: &TunnelPeer| {
        let mut prefixes = peer.allowed_ips.clone();
        prefixes.sort();
        prefixes
    };
    (wanted.endpoint.is_none() || seen.endpoint == wanted.endpoint)
        && sorted(seen) == sorted(wanted)
        && seen.keepalive_seconds.unwrap_or(0) == wanted.keepalive_seconds.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_bytes([byte; 32])
    }

    fn peer(byte: u8) -> TunnelPeer {
        TunnelPeer {
            public_key: key(byte).public().unwrap(),
            endpoint: Some("192.0.2.1:51850".parse().unwrap()),
            allowed_ips: vec!["0.0.0.0/0".parse().unwrap()],
            keepalive_seconds: Some(5),
        }
    }

    fn observed(private: &PrivateKey, peers: &[TunnelPeer]) -> ObservedTunnel {
        let seen = |peer: &TunnelPeer| ObservedPeer {
            peer: peer.clone(),
            last_handshake: None,
            received: 0,
            sent: 0,
        };
        ObservedTunnel {
            interface: "pst-c-eu".parse().unwrap(),
            public_key: private.public(),
            listen_port: 51850,
            fwmark: 0x70,
            peers: peers.iter().map(seen).collect(),
        }
    }

    fn config(peers: &[TunnelPeer]) -> TunnelConfig {
        TunnelConfig {
            interface: "pst-c-eu".parse().unwrap(),
            listen_port: Some(51850),
            fwmark: 0x70,
            peers: peers.to_vec(),
        }
    }

    #[test]
    fn changes_nothing_on_a_device_that_is_right() {
        let private = key(1);
        assert!(
            changes(
                &observed(&private, &[peer(2)]),
                &config(&[peer(2)]),
                &private
            )
            .is_empty()
        );
    }

    #[test]
    fn removes_the_old_peer_before_it_adds_the_new_one() {
        let private = key(1);
        let (device, wanted) = (observed(&private, &[peer(2)]), config(&[peer(3)]));
        let list = changes(&device, &wanted, &private);
        assert!(
            matches!(list.as_slice(), [TunnelChange::RemovePeer(old), TunnelChange::SetPeer(new)]
            if *old == peer(2).public_key && new.public_key == peer(3).public_key)
        );
    }

    #[test]
    fn keeps_the_endpoint_from_which_the_other_end_came() {
        let private = key(1);
        let roaming = TunnelPeer {
            endpoint: None,
            ..peer(2)
        };
        assert!(
            changes(
                &observed(&private, &[peer(2)]),
                &config(&[roaming]),
                &private
            )
            .is_empty()
        );
    }

    #[test]
    fn gives_a_device_without_a_key_its_key_before_its_peers() {
        let private = key(1);
        let mut device = observed(&private, &[]);
        device.public_key = None;
        let wanted = config(&[peer(2)]);
        assert!(matches!(
            changes(&device, &wanted, &private).as_slice(),
            [TunnelChange::Key(_), TunnelChange::SetPeer(_)]
        ));
    }
}
