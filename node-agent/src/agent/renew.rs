//! A tunnel whose other end is silent gets a new session. WireGuard itself notices after 10 s that nothing comes back, and
//! tries a handshake every 5 s (WireGuard, section 6.4): too long where a gateway's tunnel process was away for a moment.

use std::time::{Duration, Instant};

use postern_agent_core::tunnel_health::latest_handshake;
use postern_host::{Host, apply};
use postern_intent::{IfName, WgKey};
use postern_plan::Step;
use postern_plan::diff::tunnel::fits;
use postern_plan::host::TunnelConfig;
use postern_plan::order::Stage;
use tokio::time::timeout;

use super::activation::Activation;
use super::renewals::Renewal;
use super::state::Agent;
use crate::probe::{PublishedProbes, Silence};

/// How long a try may keep the loop: a tunnel process that hangs delays no pod.
const PATIENCE: Duration = Duration::from_millis(200);

impl<H: Host> Agent<H> {
    /// News of the probes; says whether a full run is due.
    pub(super) async fn take_probe(&mut self, latest: PublishedProbes) -> Option<Activation> {
        let mut due = None;
        if !latest.results.has_status_of(&self.kernel.last.probes) {
            due = Some(Activation::ProbeChanged);
        }
        self.kernel.last.probes = latest.results;
        for (device, silence) in &latest.lost {
            if *silence == Silence::Always && self.has_session(device) {
                continue;
            }
            match self.renew_session(device).await {
                // What a failed try left of the tunnel is put right at once.
                Some(Renewal::Failed) => due = Some(Activation::Retry),
                Some(Renewal::Changed) => due = Some(Activation::HostChanged),
                Some(Renewal::Done) | None => {}
            }
        }
        due
    }

    fn has_session(&self, device: &IfName) -> bool {
        let read_back = self.kernel.last.read_back.as_ref();
        let tunnel = read_back.and_then(|one| one.observed().tunnels.get(device));
        tunnel.and_then(latest_handshake).is_some()
    }

    /// Gives a tunnel a new session ([`postern_host::ports::Tunnels::renew_session`]). None: the device has no process or no
    /// configuration, or it is too early.
    pub(super) async fn renew_session(&mut self, device: &IfName) -> Option<Renewal> {
        let desired = self.kernel.desired.clone();
        self.exits
            .renewals
            .keep(|name| desired.tunnels.contains_key(name));
        // A device that nobody serves has no session; the run that waits for its process configures it.
        let read_back = self.kernel.last.read_back.as_ref();
        let is_served = read_back.is_some_and(|one| one.observed().tunnels.contains_key(device));
        let waits = self.exits.renewals.waits(device, Instant::now());
        let config = desired.tunnels.get(device);
        let config = config.filter(|_| is_served && !waits)?;
        let renewal = renew(&self.host, config, &self.memory.key.public);
        let outcome = timeout(PATIENCE, renewal).await.unwrap_or(Renewal::Failed);
        self.exits.renewals.tried(device, outcome, Instant::now());
        match outcome {
            Renewal::Done => self.count("sessions_renewed"),
            // The peers that a failed try left out are its own work: the run that puts them back repairs nothing.
            Renewal::Failed => {
                let left = (Stage::Tunnel, vec![Step::ConfigureTunnel(config.clone())]);
                self.kernel.last.known.stages.push(left);
            }
            Renewal::Changed => {}
        }
        Some(outcome)
    }
}

async fn renew<H: Host>(host: &H, config: &TunnelConfig, own_key: &WgKey) -> Renewal {
    match host.read_tunnel(&config.interface).await {
        Ok(Some(tunnel)) if fits(config, &tunnel, own_key) => {}
        Ok(Some(_)) => return Renewal::Changed,
        Ok(None) | Err(_) => return Renewal::Failed,
    }
    let applied = apply(host, &[Step::RenewSession(config.clone())]).await;
    match applied.failed {
        None => Renewal::Done,
        Some(_) => Renewal::Failed,
    }
}
