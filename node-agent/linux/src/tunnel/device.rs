//! The port: each device by its backend.

use postern_host::error::{HostCause, HostError};
use postern_host::ports::{HostResult, Tunnels, renew_by_peers};
use postern_intent::credential::ExitCredential;
use postern_intent::{IfName, WgKey};
use postern_plan::host::{ObservedTunnel, TunnelBackend, TunnelConfig};

use super::{kernel, userspace};
use crate::host::LinuxHost;
use crate::link::without_tun;

impl Tunnels for LinuxHost {
    async fn tunnel_backend(&self) -> HostResult<TunnelBackend> {
        let failed = |socket| move |source| HostError::Open { socket, source };
        let backend = self.backend().await.map_err(failed("WireGuard"))?;
        if backend == TunnelBackend::Userspace {
            device_node().await.map_err(failed("/dev/net/tun"))?;
        }
        Ok(backend)
    }

    fn use_credential(&self, device: &IfName, credential: Option<&ExitCredential>) {
        self.set_credential(device, credential);
    }

    async fn read_tunnel(&self, device: &IfName) -> HostResult<Option<ObservedTunnel>> {
        let read = async || match self.backend().await? {
            TunnelBackend::Userspace => userspace::read(self.run_dir(), device).await,
            TunnelBackend::Kernel => kernel::read(device).await,
        };
        read().await.map_err(|source| HostError::ReadTunnel {
            link: device.clone(),
            source,
        })
    }

    async fn configure_tunnel(&self, config: &TunnelConfig) -> HostResult<()> {
        let (key, preshared) = self.keys_of(&config.interface);
        let preshared = preshared.as_ref();
        let configure = async || match self.backend().await? {
            TunnelBackend::Userspace => {
                userspace::configure(self.run_dir(), config, &key, preshared).await
            }
            TunnelBackend::Kernel => kernel::configure(config, &key, preshared).await,
        };
        configure()
            .await
            .map_err(|source| HostError::ConfigureTunnel {
                link: config.interface.clone(),
                source,
            })
    }

    async fn renew_session(&self, config: &TunnelConfig) -> HostResult<()> {
        let failed = |source| HostError::ConfigureTunnel {
            link: config.interface.clone(),
            source,
        };
        match self.backend().await.map_err(failed)? {
            TunnelBackend::Userspace => {
                let (_, preshared) = self.keys_of(&config.interface);
                userspace::renew(self.run_dir(), config, preshared.as_ref())
                    .await
                    .map_err(failed)
            }
            TunnelBackend::Kernel => renew_by_peers(self, config).await,
        }
    }

    async fn remove_peer(&self, device: &IfName, peer: &WgKey) -> HostResult<()> {
        let remove = async || match self.backend().await? {
            TunnelBackend::Userspace => userspace::remove_peer(self.run_dir(), device, peer).await,
            TunnelBackend::Kernel => kernel::remove_peer(device, peer).await,
        };
        remove().await.map_err(|source| HostError::RemovePeer {
            link: device.clone(),
            peer: *peer,
            source,
        })
    }

    async fn dismiss_tunnel(&self, device: &IfName) -> HostResult<()> {
        let dismiss = async || match self.backend().await? {
            TunnelBackend::Userspace => userspace::dismiss(self.run_dir(), device).await,
            TunnelBackend::Kernel => Ok(()),
        };
        dismiss().await.map_err(|source| HostError::DismissTunnel {
            link: device.clone(),
            source,
        })
    }
}

/// Can TUN devices be made? Opening the node attaches to nothing. A node that is there without a driver, or that a
/// container may not open, is as good as none.
async fn device_node() -> Result<(), HostCause> {
    let opened = tokio::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .await;
    opened.map(drop).map_err(without_tun)
}
