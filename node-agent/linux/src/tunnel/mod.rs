//! WireGuard devices: the kernel's by generic netlink, others by the cross-platform userspace protocol.
//!
//! Both are configured by the same list of [`change::Change`]s: the difference between what the device answers and what
//! it should be. What is right already is not sent: setting a key or a port that is set already ends sessions.

mod change;
mod kernel;
mod key;
mod uapi;
mod userspace;

use postern_host::error::HostError;
use postern_host::ports::{Act, Tunnels};
use postern_intent::{IfName, WgKey};
use postern_plan::host::{ObservedTunnel, TunnelBackend, TunnelConfig};

pub use key::PrivateKey;

use crate::host::LinuxHost;

impl Tunnels for LinuxHost {
    async fn tunnel_backend(&self) -> Act<TunnelBackend> {
        Ok(self.backend())
    }

    async fn read_tunnel(&self, device: &IfName) -> Act<Option<ObservedTunnel>> {
        let read = match self.backend() {
            TunnelBackend::Userspace => userspace::read(self.run_dir(), device).await,
            TunnelBackend::Kernel => kernel::read(device).await,
        };
        read.map_err(|source| HostError::ReadTunnel { link: device.clone(), source })
    }

    async fn configure_tunnel(&self, config: &TunnelConfig) -> Act<()> {
        let key = self.key_of(&config.interface);
        let configured = match self.backend() {
            TunnelBackend::Userspace => userspace::configure(self.run_dir(), config, &key).await,
            TunnelBackend::Kernel => kernel::configure(config, &key).await,
        };
        configured.map_err(|source| HostError::ConfigureTunnel { link: config.interface.clone(), source })
    }

    async fn remove_peer(&self, device: &IfName, peer: &WgKey) -> Act<()> {
        let removed = match self.backend() {
            TunnelBackend::Userspace => userspace::remove_peer(self.run_dir(), device, peer).await,
            TunnelBackend::Kernel => kernel::remove_peer(device, peer).await,
        };
        removed.map_err(|source| HostError::RemovePeer { link: device.clone(), peer: *peer, source })
    }

    async fn dismiss_tunnel(&self, device: &IfName) -> Act<()> {
        match self.backend() {
            TunnelBackend::Userspace => userspace::dismiss(self.run_dir(), device)
                .await
                .map_err(|source| HostError::DismissTunnel { link: device.clone(), source }),
            TunnelBackend::Kernel => Ok(()),
        }
    }
}
