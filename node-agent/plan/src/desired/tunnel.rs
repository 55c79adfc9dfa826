use std::collections::BTreeMap;

use postern_intent::{IfName, Mark};

use super::PlanInputs;
use crate::host::{TunnelConfig, TunnelPeer};

pub(super) fn configs(inputs: &PlanInputs<'_>) -> BTreeMap<IfName, TunnelConfig> {
    let (Some(body), Some(_)) = (inputs.body, inputs.facts.tunnel_backend) else {
        return BTreeMap::new();
    };
    body.tunnels
        .iter()
        .map(|tunnel| {
            let mut peers: Vec<TunnelPeer> = tunnel
                .peers
                .iter()
                .map(|peer| {
                    let mut allowed_ips = peer.allowed_ips.clone();
                    allowed_ips.sort();
                    TunnelPeer {
                        public_key: peer.public_key,
                        endpoint: peer.endpoint,
                        allowed_ips,
                        keepalive_seconds: peer.keepalive_seconds,
                    }
                })
                .collect();
            peers.sort();
            let config = TunnelConfig {
                interface: tunnel.interface.clone(),
                listen_port: tunnel.listen_port,
                fwmark: inputs.settings.masked(Mark::OWN).value,
                peers,
            };
            (tunnel.interface.clone(), config)
        })
        .collect()
}
