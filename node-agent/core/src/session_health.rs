//! Whether the server of an external exit answers. It answers no echo of ours: all that shows it is what comes from it.
//!
//! Who receives a packet with content sends something back within 10 s (WireGuard, section 6.5, `Keepalive-Timeout`), and a
//! handshake is answered at once. So a server that was sent either and from which nothing came for 15 s is silent. Keepalives
//! are answered by nobody, and count for nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_intent::IfName;
use postern_intent::body::{Body, TunnelRole};
use postern_plan::host::ObservedTunnel;

/// `Keepalive-Timeout` and `Rekey-Timeout` together, after which WireGuard itself begins a new handshake.
const SILENCE: Duration = Duration::from_secs(15);
/// Bytes of a packet without content.
const KEEPALIVE: u64 = 32;

/// The packets from one server, and those to it since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHealth {
    received: u64,
    /// Since when nothing more came.
    since: Instant,
    /// What had been sent by then.
    sent: u64,
    /// Since when something is under way that has to be answered.
    asked: Option<Instant>,
    answer: ServerAnswer,
}

/// Does the server answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerAnswer {
    /// Nothing ever came from it, and it was not asked long enough.
    #[default]
    Untested,
    Answers,
    /// It was asked, and nothing came.
    Silent,
}

impl SessionHealth {
    fn begun(tunnel: &ObservedTunnel, now: Instant) -> Self {
        let (received, sent) = bytes(tunnel);
        Self {
            received,
            since: now,
            sent,
            asked: None,
            answer: match received {
                0 => ServerAnswer::Untested,
                _ => ServerAnswer::Answers,
            },
        }
    }

    fn update(&mut self, tunnel: &ObservedTunnel, now: Instant) {
        let (received, sent) = bytes(tunnel);
        // Less than before: another tunnel process counts anew.
        if received != self.received || sent < self.sent {
            *self = Self::begun(tunnel, now);
            return;
        }
        let every = tunnel
            .peers
            .iter()
            .find_map(|seen| seen.peer.keepalive_seconds);
        let waited = now.saturating_duration_since(self.since).as_secs();
        let idle = every.map_or(0, |every| waited / u64::from(every.max(1)) + 1);
        if sent.saturating_sub(self.sent) > idle.saturating_mul(KEEPALIVE) {
            let asked = *self.asked.get_or_insert(now);
            if now.saturating_duration_since(asked) >= SILENCE {
                self.answer = ServerAnswer::Silent;
            }
        }
    }
}

fn bytes(tunnel: &ObservedTunnel) -> (u64, u64) {
    let peers = || tunnel.peers.iter();
    (
        peers().map(|seen| seen.received).sum(),
        peers().map(|seen| seen.sent).sum(),
    )
}

/// The health of every session with a server outside, by device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionHealths(BTreeMap<IfName, SessionHealth>);

impl SessionHealths {
    /// Takes a reading of the tunnels. A device that does not answer at all keeps what was known.
    pub fn update(
        &mut self,
        body: Option<&Body>,
        tunnels: &BTreeMap<IfName, ObservedTunnel>,
        now: Instant,
    ) {
        let all = body.into_iter().flat_map(|body| &body.tunnels);
        let external = all.filter(|tunnel| tunnel.role == TunnelRole::External);
        let devices: Vec<&IfName> = external.map(|tunnel| &tunnel.interface).collect();
        self.0.retain(|device, _| devices.contains(&device));
        for device in devices {
            if let Some(tunnel) = tunnels.get(device) {
                self.0
                    .entry(device.clone())
                    .or_insert_with(|| SessionHealth::begun(tunnel, now))
                    .update(tunnel, now);
            }
        }
    }

    #[must_use]
    pub fn answer(&self, device: &IfName) -> ServerAnswer {
        let health = self.0.get(device);
        health.map(|health| health.answer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "a test needs a moment to count from, and fails by what is not there"
    )]

    use postern_intent::WgKey;
    use postern_plan::host::{ObservedPeer, TunnelPeer};

    use super::*;

    fn tunnel(received: u64, sent: u64) -> ObservedTunnel {
        ObservedTunnel {
            interface: "pst-x-eu".parse().unwrap(),
            public_key: None,
            listen_port: 0,
            fwmark: 0,
            peers: vec![ObservedPeer {
                peer: TunnelPeer {
                    public_key: WgKey::from_bytes([7; 32]).unwrap(),
                    endpoint: None,
                    allowed_ips: Vec::new(),
                    keepalive_seconds: Some(25),
                },
                last_handshake: None,
                received,
                sent,
            }],
        }
    }

    /// The answer after these readings: seconds, bytes received and sent.
    fn after(readings: &[(u64, u64, u64)]) -> ServerAnswer {
        let start = Instant::now();
        let mut health = SessionHealth::begun(&tunnel(0, 0), start);
        for (second, received, sent) in readings {
            let now = start + Duration::from_secs(*second);
            health.update(&tunnel(*received, *sent), now);
        }
        health.answer
    }

    #[test]
    fn a_server_that_never_answers_a_handshake_is_silent_after_fifteen_seconds() {
        assert_eq!(after(&[(1, 0, 148), (10, 0, 296)]), ServerAnswer::Untested);
        assert_eq!(after(&[(1, 0, 148), (16, 0, 444)]), ServerAnswer::Silent);
    }

    #[test]
    fn a_server_that_is_sent_keepalives_alone_is_not_called_silent() {
        let idle = [(1, 92, 148), (26, 92, 180), (51, 92, 212), (3601, 92, 4756)];
        assert_eq!(after(&idle), ServerAnswer::Answers);
    }

    #[test]
    fn a_server_that_stops_is_silent_until_something_comes_from_it_again() {
        let stopped = [(1, 92, 148), (2, 500, 600), (3, 500, 900), (18, 500, 2000)];
        assert_eq!(after(&stopped), ServerAnswer::Silent);
        let back = [&stopped[..], &[(20, 592, 2148)]].concat();
        assert_eq!(after(&back), ServerAnswer::Answers);
    }
}
