//! The WireGuard device of one tunnel.

use gotatun::device::{
    self, Device,
    uapi::{UapiClient, UapiServer},
};

use crate::{
    SessionError,
    health::{TransportFault, TransportHealth},
    transport::Udp,
    tun::Tun,
};

/// A device that has no key, port, mark or peer until it is configured; its UDP socket is bound
/// when the first key comes.
pub(crate) struct WireGuard {
    device: Device<(Udp, Tun, Tun)>,
    client: UapiClient,
    health: TransportHealth,
}

impl WireGuard {
    pub(crate) async fn build(tun: Tun, health: TransportHealth) -> Result<Self, SessionError> {
        let (client, server) = UapiServer::new();
        let device = device::build()
            .with_udp(Udp::new(health.clone()))
            .with_ip(tun)
            .with_uapi(server)
            .build()
            .await
            .map_err(|source| SessionError::Build { source })?;
        Ok(Self {
            device,
            client,
            health,
        })
    }

    /// A handle that configures this device.
    pub(crate) fn client(&self) -> Configurator {
        Configurator {
            client: self.client.clone(),
            health: self.health.clone(),
        }
    }

    /// Waits until the device can no longer work, for example because its TUN was deleted.
    pub(crate) async fn lost(&self) -> SessionError {
        match self.health.lost().await {
            TransportFault::Udp => SessionError::UdpLost,
            TransportFault::Tun | TransportFault::Bind(_) => SessionError::TunLost,
        }
    }

    /// Ends the device's tasks; its TUN and UDP sockets are closed when the last of them is gone.
    pub(crate) async fn stop(self) {
        self.device.stop().await;
    }
}

/// Hands requests to a device and tells whether it survived them.
#[derive(Clone)]
pub(crate) struct Configurator {
    client: UapiClient,
    health: TransportHealth,
}

impl Configurator {
    pub(crate) fn client(&self) -> &UapiClient {
        &self.client
    }

    /// The error number of a bind that failed, after which the device is of no use.
    pub(crate) fn bind_error(&self) -> Option<i32> {
        self.health.bind_error()
    }
}
