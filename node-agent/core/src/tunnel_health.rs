//! Whether the other end of a tunnel answers, by WireGuard's handshakes: a session without a new one is dead after 180 s
//! (WireGuard, section 6.1, `Reject-After-Time`). Where probes can be sent they say so within a second; this is what remains
//! without `CAP_NET_RAW`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_intent::body::TunnelRole;
use postern_intent::{Body, IfName, NodeName};
use postern_plan::host::ObservedTunnel;

/// WireGuard's `Reject-After-Time`: no packet passes by a session that is older.
pub const REJECT_AFTER: Duration = Duration::from_secs(180);
/// WireGuard's `Rekey-Timeout`: how long a handshake may take before it is tried again.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// The health of one tunnel, on a clock that cannot be set: handshakes are stamped with the wall clock, and are only
/// compared with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelHealth {
    /// The latest handshake, of whichever peer.
    pub handshake: Option<Timestamp>,
    /// When that handshake was first seen.
    pub since: Instant,
    /// When it was found to be too old, and how many bytes had been sent by then.
    pub expired: Option<(Instant, u64)>,
    /// Whether packets were sent since then and none came back.
    pub answer: TunnelAnswer,
}

/// Does the other end answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelAnswer {
    /// It does, or nothing was sent that it should have answered.
    NotMissed,
    /// It was sent something and did not answer.
    Missed,
}

impl TunnelHealth {
    fn first(tunnel: &ObservedTunnel, now: Instant) -> Self {
        Self {
            handshake: latest_handshake(tunnel),
            since: now,
            expired: None,
            answer: TunnelAnswer::NotMissed,
        }
    }

    /// An idle session may be as old as it likes: only one by which something was sent in vain, be it a keepalive, is
    /// lost; and it stays so until there is a new handshake.
    fn update(&mut self, tunnel: &ObservedTunnel, now: Instant) {
        if latest_handshake(tunnel) != self.handshake {
            *self = Self::first(tunnel, now);
            return;
        }
        if now.saturating_duration_since(self.since) < REJECT_AFTER {
            return;
        }
        let sent: u64 = tunnel.peers.iter().map(|seen| seen.sent).sum();
        let (at, before) = *self.expired.get_or_insert((now, sent));
        let waited = now.saturating_duration_since(at);
        let keepalive = tunnel
            .peers
            .iter()
            .filter_map(|seen| seen.peer.keepalive_seconds)
            .filter(|seconds| *seconds > 0)
            .min()
            .map(|seconds| Duration::from_secs(seconds.into()));
        let asked = sent > before && waited >= REKEY_TIMEOUT;
        if asked || keepalive.is_some_and(|every| waited >= every + REKEY_TIMEOUT) {
            self.answer = TunnelAnswer::Missed;
        }
    }
}

/// The latest handshake of a tunnel's peers.
#[must_use]
pub fn latest_handshake(tunnel: &ObservedTunnel) -> Option<Timestamp> {
    let peers = tunnel.peers.iter();
    peers.filter_map(|peer| peer.last_handshake).max()
}

/// The last handshake with one node by a tunnel.
#[must_use]
pub fn handshake_with(body: &Body, tunnel: &ObservedTunnel, node: &NodeName) -> Option<Timestamp> {
    let mut tunnels = body.tunnels.iter();
    let own = tunnels.find(|own| own.interface == tunnel.interface)?;
    let mut peers = own.peers.iter();
    let peer = peers.find(|peer| peer.at.node() == Some(node))?;
    let mut seen = tunnel.peers.iter();
    let seen = seen.find(|seen| seen.peer.public_key == peer.public_key)?;
    seen.last_handshake
}

/// The health of every tunnel that this node uses, by device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TunnelHealths(pub BTreeMap<IfName, TunnelHealth>);

impl TunnelHealths {
    /// Takes a reading of the tunnels. A device that does not answer at all is not remembered: it is lost anyway.
    pub fn update(
        &mut self,
        body: Option<&Body>,
        tunnels: &BTreeMap<IfName, ObservedTunnel>,
        now: Instant,
    ) {
        let used: Vec<&IfName> = body
            .map(|body| &body.tunnels[..])
            .unwrap_or_default()
            .iter()
            .filter(|tunnel| tunnel.role == TunnelRole::Used)
            .map(|tunnel| &tunnel.interface)
            .collect();
        self.0
            .retain(|device, _| used.contains(&device) && tunnels.contains_key(device));
        for device in used {
            let Some(tunnel) = tunnels.get(device) else {
                continue;
            };
            self.0
                .entry(device.clone())
                .or_insert_with(|| TunnelHealth::first(tunnel, now))
                .update(tunnel, now);
        }
    }

    /// Was something sent by the device in vain for so long that its session is dead?
    #[must_use]
    pub fn is_unanswered(&self, device: &IfName) -> bool {
        let health = self.0.get(device);
        health.is_some_and(|health| health.answer == TunnelAnswer::Missed)
    }
}
