use postern_intent::WgKey;

use crate::desired::Desired;
use crate::host::{ObservedTunnel, TunnelConfig};
use crate::observed::Observed;
use crate::step::Step;

/// Devices whose configuration is not as it should be, or that did not answer.
#[must_use]
pub fn changes(desired: &Desired, observed: &Observed, own_key: &WgKey) -> Vec<Step> {
    desired
        .tunnels
        .values()
        .filter(|config| {
            observed
                .tunnels
                .get(&config.interface)
                .is_none_or(|tunnel| !fits(config, tunnel, own_key))
        })
        .cloned()
        .map(Step::ConfigureTunnel)
        .collect()
}

/// Whether the device is as configured. A gateway learns its clients' endpoints, so an endpoint that was not configured
/// may be anything; a client's port is the kernel's choice.
#[must_use]
pub fn fits(config: &TunnelConfig, observed: &ObservedTunnel, own_key: &WgKey) -> bool {
    let same_peers = config.peers.len() == observed.peers.len()
        && config
            .peers
            .iter()
            .zip(&observed.peers)
            .all(|(want, have)| {
                want.public_key == have.peer.public_key
                    && want.allowed_ips == have.peer.allowed_ips
                    && want.keepalive_seconds.unwrap_or(0)
                        == have.peer.keepalive_seconds.unwrap_or(0)
                    && (want.endpoint.is_none() || want.endpoint == have.peer.endpoint)
            });
    same_peers
        && observed.public_key.as_ref() == Some(config.own_key.as_ref().unwrap_or(own_key))
        && observed.fwmark == config.fwmark
        && config
            .listen_port
            .is_none_or(|port| port == observed.listen_port)
}
