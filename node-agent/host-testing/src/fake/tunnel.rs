//! WireGuard devices in memory: served while a test lets the tunnel process run.

use postern_intent::credential::ExitCredential;
use postern_intent::{IfName, WgKey};
use postern_plan::host::{
    Carrier, ObservedPeer, ObservedTunnel, TunnelBackend, TunnelConfig, TunnelPeer,
};

use super::fault::Call;
use super::host::{FakeHost, FakeState};
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{HostResult, Tunnels};

fn fresh(device: &IfName) -> ObservedTunnel {
    ObservedTunnel {
        interface: device.clone(),
        public_key: None,
        listen_port: 0,
        fwmark: 0,
        peers: Vec::new(),
    }
}

impl FakeHost {
    /// The tunnel process starts: it serves what is asked for, without a configuration. Devices that are configured
    /// get this key.
    pub fn starts_the_tunnel_process(&self, key: WgKey) {
        let mut state = self.state();
        state.tunnels.process = Some(key);
        for device in state.tunnels.requested.clone() {
            serve(&mut state, &device);
        }
    }

    /// The tunnel process dies: its devices stay, without a carrier and without a configuration.
    pub fn kills_the_tunnel_process(&self) {
        let mut state = self.state();
        state.tunnels.process = None;
        for device in std::mem::take(&mut state.tunnels.devices).into_keys() {
            state.set_carrier(device.as_str(), Carrier::Absent);
        }
    }

    /// The device's peers as they are, to be changed: handshakes, bytes, endpoints.
    pub fn changes_peers(&self, device: &IfName, change: impl FnOnce(&mut Vec<ObservedPeer>)) {
        if let Some(tunnel) = self.state().tunnels.devices.get_mut(device) {
            change(&mut tunnel.peers);
        }
    }
}

fn serve(state: &mut FakeState, device: &IfName) {
    state
        .tunnels
        .devices
        .entry(device.clone())
        .or_insert_with(|| fresh(device));
    state.set_carrier(device.as_str(), Carrier::Present);
}

fn configure(state: &mut FakeState, config: &TunnelConfig) -> Result<(), HostCause> {
    state.faults.meet(Call::ConfigureTunnel)?;
    state.is_up(&config.interface)?;
    state.tunnels.requested.insert(config.interface.clone());
    let key = state.tunnels.process.ok_or(HostCause::NotServed)?;
    serve(state, &config.interface);
    let observed = state
        .tunnels
        .devices
        .get_mut(&config.interface)
        .ok_or(HostCause::NotServed)?;
    observed.public_key = Some(config.own_key.unwrap_or(key));
    observed.fwmark = config.fwmark;
    observed.listen_port = config.listen_port.unwrap_or(observed.listen_port);
    observed.peers = config
        .peers
        .iter()
        .map(|peer| configured(peer, &observed.peers))
        .collect();
    observed.peers.sort_by_key(|seen| seen.peer.public_key);
    Ok(())
}

/// A peer that was there keeps its session, and its endpoint where none is configured.
fn configured(wanted: &TunnelPeer, there: &[ObservedPeer]) -> ObservedPeer {
    let old = there
        .iter()
        .find(|seen| seen.peer.public_key == wanted.public_key);
    let mut peer = wanted.clone();
    peer.allowed_ips.sort();
    peer.endpoint = wanted
        .endpoint
        .or_else(|| old.and_then(|seen| seen.peer.endpoint));
    match old {
        Some(seen) => ObservedPeer {
            peer,
            ..seen.clone()
        },
        None => ObservedPeer {
            peer,
            last_handshake: None,
            received: 0,
            sent: 0,
        },
    }
}

impl Tunnels for FakeHost {
    async fn tunnel_backend(&self) -> HostResult<TunnelBackend> {
        let failed = |source| HostError::Open {
            socket: "/dev/net/tun",
            source,
        };
        self.state()
            .faults
            .meet(Call::TunnelBackend)
            .map_err(failed)?;
        Ok(TunnelBackend::Userspace)
    }

    /// The fake has no keys: a device has the public half that its configuration names.
    fn use_credential(&self, _: &IfName, _: Option<&ExitCredential>) {}

    async fn read_tunnel(&self, device: &IfName) -> HostResult<Option<ObservedTunnel>> {
        let mut state = self.state();
        let failed = |source| HostError::ReadTunnel {
            link: device.clone(),
            source,
        };
        state.faults.meet(Call::ReadTunnel).map_err(failed)?;
        Ok(state.tunnels.devices.get(device).cloned())
    }

    async fn configure_tunnel(&self, config: &TunnelConfig) -> HostResult<()> {
        configure(&mut self.state(), config).map_err(|source| HostError::ConfigureTunnel {
            link: config.interface.clone(),
            source,
        })
    }

    async fn remove_peer(&self, device: &IfName, peer: &WgKey) -> HostResult<()> {
        let mut state = self.state();
        let failed = |source| HostError::RemovePeer {
            link: device.clone(),
            peer: *peer,
            source,
        };
        state.faults.meet(Call::RemovePeer).map_err(failed)?;
        if let Some(tunnel) = state.tunnels.devices.get_mut(device) {
            tunnel.peers.retain(|seen| seen.peer.public_key != *peer);
        }
        Ok(())
    }

    async fn dismiss_tunnel(&self, device: &IfName) -> HostResult<()> {
        let mut state = self.state();
        let failed = |source| HostError::DismissTunnel {
            link: device.clone(),
            source,
        };
        state.faults.meet(Call::DismissTunnel).map_err(failed)?;
        state.tunnels.requested.remove(device);
        state.tunnels.devices.remove(device);
        state.set_carrier(device.as_str(), Carrier::Absent);
        Ok(())
    }
}
