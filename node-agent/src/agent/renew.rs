//! A tunnel whose other end is silent gets a new session. WireGuard itself notices after 10 s that nothing comes back, and
//! tries a handshake every 5 s (WireGuard, section 6.4): too long where a gateway's tunnel process was away for a moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use postern_host::{Host, apply};
use postern_intent::IfName;
use postern_plan::Step;
use tokio::time::timeout;

use super::state::Agent;

/// Between two new sessions of one tunnel.
const PAUSE: Duration = Duration::from_millis(400);
/// The longest pause, after tries that failed.
const LONGEST: Duration = Duration::from_secs(8);
/// How long a try may keep the loop: a tunnel process that hangs delays no pod.
const PATIENCE: Duration = Duration::from_millis(200);

/// When each tunnel may get a new session.
#[derive(Debug, Default)]
pub struct Renewals(BTreeMap<IfName, (Instant, Duration)>);

impl<H: Host> Agent<H> {
    /// Takes the peers of a tunnel out and puts them back: the next packet makes a handshake. Nothing that was staged for
    /// the old session is sent by the new one.
    pub async fn renew_session(&mut self, device: &IfName) {
        let now = Instant::now();
        self.renewals
            .0
            .retain(|name, _| self.desired.tunnels.contains_key(name));
        let waits = self
            .renewals
            .0
            .get(device)
            .is_some_and(|(until, _)| now < *until);
        let read_back = self.last.read_back.as_ref();
        // A device that nobody serves has no session; the run that waits for its process configures it.
        let is_served = read_back.is_some_and(|one| one.observed().tunnels.contains_key(device));
        let Some(config) = self
            .desired
            .tunnels
            .get(device)
            .filter(|_| is_served && !waits)
        else {
            return;
        };
        let mut steps: Vec<Step> = config
            .peers
            .iter()
            .map(|peer| Step::RemovePeer {
                device: device.clone(),
                peer: peer.public_key,
            })
            .collect();
        steps.push(Step::ConfigureTunnel(config.clone()));
        let outcome = timeout(PATIENCE, apply(&self.host, &steps)).await;
        let failed = outcome.map_or(true, |applied| applied.failed.is_some());
        let before = self
            .renewals
            .0
            .get(device)
            .map_or(PAUSE, |(_, pause)| *pause);
        let pause = match failed {
            true => (before * 2).min(LONGEST),
            false => PAUSE,
        };
        self.renewals
            .0
            .insert(device.clone(), (Instant::now() + pause, pause));
        self.count("sessions_renewed");
    }
}
