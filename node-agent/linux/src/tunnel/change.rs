//! The difference between a device and its configuration, as a list in the order in which it must be made.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::credential::SecretBytes;
use postern_intent::{Prefix, WgKey};
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
    /// A peer is added, or set as a whole, with its preshared key.
    SetPeer(&'a TunnelPeer, Option<&'a SecretBytes>),
}

/// What has to be done. Peers that are not named, and those that lose addresses to another one, go first, so that nothing
/// staged for them leaves by what comes after. The latter come back last.
pub(super) fn changes<'a>(
    observed: &ObservedTunnel,
    config: &'a TunnelConfig,
    key: &'a PrivateKey,
    preshared: Option<&'a SecretBytes>,
) -> Vec<TunnelChange<'a>> {
    let there: BTreeMap<WgKey, &ObservedPeer> = observed
        .peers
        .iter()
        .map(|seen| (seen.peer.public_key, seen))
        .collect();
    let wanted: BTreeMap<WgKey, &TunnelPeer> = config
        .peers
        .iter()
        .map(|peer| (peer.public_key, peer))
        .collect();
    let keeps_all = |seen: &ObservedPeer| {
        let Some(wanted) = wanted.get(&seen.peer.public_key) else {
            return false;
        };
        let is_kept = |one: &Prefix| {
            let mut ranges = wanted.allowed_ips.iter();
            ranges.any(|range| range.net().contains(&one.net()))
        };
        seen.peer.allowed_ips.iter().all(is_kept)
    };
    let going: BTreeSet<WgKey> = there
        .iter()
        .filter(|(_, seen)| !keeps_all(seen))
        .map(|(key, _)| *key)
        .collect();
    let mut out: Vec<TunnelChange<'a>> = going
        .iter()
        .copied()
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
    let is_wrong = |peer: &&TunnelPeer| {
        there
            .get(&peer.public_key)
            .is_none_or(|seen| !is_right(&seen.peer, peer))
    };
    let (back, others): (Vec<&TunnelPeer>, Vec<&TunnelPeer>) = config
        .peers
        .iter()
        .filter(is_wrong)
        .partition(|peer| going.contains(&peer.public_key));
    let set = others.into_iter().chain(back);
    out.extend(set.map(|peer| TunnelChange::SetPeer(peer, preshared)));
    out
}

/// Splits the changes into requests of the userspace protocol. gotatun refuses a request that names a peer twice
/// (`validate_set`, EINVAL). Settings of the device come before the first peer, because each line behind a peer's key belongs
/// to that peer.
pub(super) fn requests<'a, 'c>(list: &'c [TunnelChange<'a>]) -> Vec<&'c [TunnelChange<'a>]> {
    let mut bounds = vec![0];
    let mut named = BTreeSet::new();
    for (at, change) in list.iter().enumerate() {
        let peer = match change {
            TunnelChange::RemovePeer(peer) => Some(*peer),
            TunnelChange::SetPeer(peer, _) => Some(peer.public_key),
            TunnelChange::Key(_) | TunnelChange::Port(_) | TunnelChange::Mark(_) => None,
        };
        let begins = match peer {
            Some(peer) => named.contains(&peer),
            None => !named.is_empty(),
        };
        if begins {
            bounds.push(at);
            named.clear();
        }
        named.extend(peer);
    }
    bounds.push(list.len());
    let parts = bounds.windows(2).filter_map(|bounds| match bounds {
        [from, to] => list.get(*from..*to),
        _ => None,
    });
    parts.filter(|part| !part.is_empty()).collect()
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
            own_key: None,
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
                &private,
                None
            )
            .is_empty()
        );
    }

    #[test]
    fn removes_the_old_peer_before_it_adds_the_new_one() {
        let private = key(1);
        let (device, wanted) = (observed(&private, &[peer(2)]), config(&[peer(3)]));
        let list = changes(&device, &wanted, &private, None);
        assert!(
            matches!(list.as_slice(), [TunnelChange::RemovePeer(old), TunnelChange::SetPeer(new, None)]
            if *old == peer(2).public_key && new.public_key == peer(3).public_key)
        );
    }

    #[test]
    fn a_gateway_that_loses_its_turn_is_removed_before_the_next_one_gets_it_and_comes_back_last() {
        let private = key(1);
        let with = |byte: u8, prefix: &str| TunnelPeer {
            allowed_ips: vec![prefix.parse().unwrap()],
            ..peer(byte)
        };
        let own = ["198.18.0.2/32", "198.18.0.3/32"];
        let before = [with(2, "0.0.0.0/0"), with(3, own[1])];
        let after = [with(2, own[0]), with(3, "0.0.0.0/0")];
        let (device, wanted) = (observed(&private, &before), config(&after));
        let list = changes(&device, &wanted, &private, None);
        let first: Vec<WgKey> = [2, 3, 2].map(|byte| peer(byte).public_key).into();
        let named = list.iter().map(|change| match change {
            TunnelChange::RemovePeer(key) => *key,
            TunnelChange::SetPeer(peer, _) => peer.public_key,
            other => panic!("{other:?}"),
        });
        assert_eq!(named.collect::<Vec<_>>(), first);
        assert!(matches!(list.first(), Some(TunnelChange::RemovePeer(_))));
        let lengths = |list: &[TunnelChange<'_>]| -> Vec<usize> {
            requests(list).into_iter().map(<[_]>::len).collect()
        };
        assert_eq!(lengths(&list), [2, 1], "a request names each peer once");
        let mut unmarked = observed(&private, &before);
        unmarked.fwmark = 0;
        let list = changes(&unmarked, &wanted, &private, None);
        assert_eq!(lengths(&list), [1, 3], "the mark comes before a peer");
        assert!(requests(&[]).is_empty());
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
                &private,
                None
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
            changes(&device, &wanted, &private, None).as_slice(),
            [TunnelChange::Key(_), TunnelChange::SetPeer(..)]
        ));
    }
}
