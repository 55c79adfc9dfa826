//! The host and its options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use postern_host::error::HostError;
use postern_intent::IfName;
use postern_plan::host::TunnelBackend;

use crate::link::has_wireguard;
use crate::rtnl::Rtnl;
use crate::tunnel::PrivateKey;

/// Which backend is wanted for tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendPreference {
    /// The kernel's where it has WireGuard, else userspace.
    #[default]
    KernelFirst,
    /// Userspace, whatever the kernel has.
    Userspace,
}

/// What a [`LinuxHost`] needs to know.
#[derive(Debug, Clone)]
pub struct LinuxOptions {
    /// The run folder: requests to the tunnel process are files in its `tunnels/`, sockets of devices are in its
    /// `wireguard/`.
    pub run_dir: PathBuf,
    /// The node's own key, for every device without a key of its own.
    pub private_key: PrivateKey,
    /// Which backend is wanted.
    pub backend: BackendPreference,
}

/// The kernel of the network namespace in which it was made.
pub struct LinuxHost {
    rtnl: Rtnl,
    run_dir: PathBuf,
    backend: TunnelBackend,
    node_key: PrivateKey,
    /// Keys of devices that do not use the node's: a gateway's credentials at an external exit.
    device_keys: Mutex<BTreeMap<IfName, PrivateKey>>,
}

impl LinuxHost {
    /// Opens the kernel of the calling thread's network namespace, inside a tokio runtime, and finds out how tunnels
    /// are served.
    ///
    /// # Errors
    /// [`HostError::Open`] when there is no route netlink, or when the kernel cannot be asked for WireGuard.
    pub async fn new(options: LinuxOptions) -> Result<Self, HostError> {
        let rtnl = Rtnl::open()?;
        let backend = match options.backend {
            BackendPreference::Userspace => TunnelBackend::Userspace,
            BackendPreference::KernelFirst => {
                let found = has_wireguard(&rtnl).await;
                match found.map_err(|source| HostError::Open {
                    socket: "WireGuard",
                    source,
                })? {
                    true => TunnelBackend::Kernel,
                    false => TunnelBackend::Userspace,
                }
            }
        };
        Ok(Self {
            rtnl,
            run_dir: options.run_dir,
            backend,
            node_key: options.private_key,
            device_keys: Mutex::new(BTreeMap::new()),
        })
    }

    /// Gives a device a private key of its own, used from its next configuration on.
    pub fn use_key(&self, device: IfName, key: PrivateKey) {
        self.device_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(device, key);
    }

    pub(crate) fn key_of(&self, device: &IfName) -> PrivateKey {
        let keys = self
            .device_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.get(device).unwrap_or(&self.node_key).clone()
    }

    pub(crate) const fn rtnl(&self) -> &Rtnl {
        &self.rtnl
    }

    pub(crate) const fn backend(&self) -> TunnelBackend {
        self.backend
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }
}
