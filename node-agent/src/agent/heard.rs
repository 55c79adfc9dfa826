//! When the other end of a tunnel was last heard of. Nobody but WireGuard's handshake says that an exit is there, and a
//! session without a new one is dead after 180 s (WireGuard, section 6.1, `Reject-After-Time`).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_host::Host;
use postern_intent::IfName;
use postern_intent::body::TunnelRole;
use postern_plan::Observed;
use postern_plan::host::ObservedTunnel;

use super::state::Agent;

/// WireGuard's `Reject-After-Time`: no packet passes by a session that is older.
pub const REJECT_AFTER: Duration = Duration::from_secs(180);
/// WireGuard's `Rekey-Timeout`: how long a handshake may take before it is tried again.
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// What was last heard by a device, on a clock that nobody can set: handshakes are stamped with the wall clock, and are
/// only compared with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The latest handshake, of whichever peer.
    pub handshake: Option<Timestamp>,
    /// When it was first seen.
    pub since: Instant,
    /// When it was found to be too old, and how many bytes had been sent by then.
    pub expired: Option<(Instant, u64)>,
    /// Was something sent since then and nothing heard?
    pub answer: Answer,
}

/// Does the other end answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It does, or nobody asked.
    Unasked,
    /// It was asked and did not.
    Missing,
}

impl Heard {
    fn first(tunnel: &ObservedTunnel, now: Instant) -> Self {
        Self {
            handshake: latest(tunnel),
            since: now,
            expired: None,
            answer: Answer::Unasked,
        }
    }

    /// Takes what a reading shows. An idle session may be as old as it likes: only one by which something was sent in
    /// vain, be it a keepalive, is lost; and it stays so until there is a new handshake.
    fn listen(&mut self, tunnel: &ObservedTunnel, now: Instant) {
        if latest(tunnel) != self.handshake {
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
            self.answer = Answer::Missing;
        }
    }
}

fn latest(tunnel: &ObservedTunnel) -> Option<Timestamp> {
    let peers = tunnel.peers.iter();
    peers.filter_map(|peer| peer.last_handshake).max()
}

impl<H: Host> Agent<H> {
    /// Takes what a reading shows of the tunnels that this node uses. A device that does not answer is another matter.
    pub(super) fn listen(&mut self, observed: &Observed) {
        let now = Instant::now();
        let tunnels = self.body().map(|body| &body.tunnels[..]);
        let used: Vec<IfName> = tunnels
            .unwrap_or_default()
            .iter()
            .filter(|tunnel| tunnel.role == TunnelRole::Used)
            .map(|tunnel| tunnel.interface.clone())
            .collect();
        self.last
            .heard
            .retain(|device, _| used.contains(device) && observed.tunnels.contains_key(device));
        for device in used {
            let Some(tunnel) = observed.tunnels.get(&device) else {
                continue;
            };
            let heard = self.last.heard.entry(device);
            heard
                .or_insert_with(|| Heard::first(tunnel, now))
                .listen(tunnel, now);
        }
    }

    /// Was something sent by the device for so long in vain that its session is dead?
    #[must_use]
    pub fn is_unanswered(&self, device: &IfName) -> bool {
        let heard = self.last.heard.get(device);
        heard.is_some_and(|heard| heard.answer == Answer::Missing)
    }
}
