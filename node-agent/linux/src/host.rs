//! The host and its options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_host::error::HostCause;
use postern_intent::IfName;
use postern_plan::host::TunnelBackend;
use tokio::sync::OnceCell;

use crate::firewall::LastListing;
use crate::rtnl::Rtnl;
use crate::tunnel::PrivateKey;
use crate::wireguard_link::has_wireguard;

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

/// The kernel of a network namespace. A clone is the same host.
#[derive(Clone)]
pub struct LinuxHost {
    inner: Arc<Inner>,
}

struct Inner {
    rtnl: Rtnl,
    run_dir: PathBuf,
    wanted: BackendPreference,
    backend: OnceCell<TunnelBackend>,
    node_key: PrivateKey,
    /// Keys of devices that do not use the node's: a gateway's credentials at an external exit.
    device_keys: Mutex<BTreeMap<IfName, PrivateKey>>,
    last_listing: Mutex<LastListing>,
}

impl LinuxHost {
    /// The kernel of the network namespace of the threads that use it, inside a tokio runtime. Nothing is asked of it yet:
    /// what it cannot do fails where it is wanted, so that a node without it is sealed all the same.
    #[must_use]
    pub fn new(options: LinuxOptions) -> Self {
        let inner = Inner {
            rtnl: Rtnl::default(),
            run_dir: options.run_dir,
            wanted: options.backend,
            backend: OnceCell::new(),
            node_key: options.private_key,
            device_keys: Mutex::new(BTreeMap::new()),
            last_listing: Mutex::new(LastListing::none()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Gives a device a private key of its own, used from its next configuration on.
    pub fn use_key(&self, device: IfName, key: PrivateKey) {
        self.device_keys().insert(device, key);
    }

    pub(crate) fn key_of(&self, device: &IfName) -> PrivateKey {
        let keys = self.device_keys();
        keys.get(device).unwrap_or(&self.inner.node_key).clone()
    }

    fn device_keys(&self) -> MutexGuard<'_, BTreeMap<IfName, PrivateKey>> {
        let keys = self.inner.device_keys.lock();
        keys.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last_listing(&self) -> MutexGuard<'_, LastListing> {
        let listing = self.inner.last_listing.lock();
        listing.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rtnl(&self) -> &Rtnl {
        &self.inner.rtnl
    }

    /// How tunnels are served; it is found out once.
    pub(crate) async fn backend(&self) -> Result<TunnelBackend, HostCause> {
        let found = self.inner.backend.get_or_try_init(async || {
            Ok(match self.inner.wanted {
                BackendPreference::KernelFirst if has_wireguard(self.rtnl()).await? => {
                    TunnelBackend::Kernel
                }
                BackendPreference::KernelFirst | BackendPreference::Userspace => {
                    TunnelBackend::Userspace
                }
            })
        });
        found.await.copied()
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.inner.run_dir
    }
}
