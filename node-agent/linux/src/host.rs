//! The host and its options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_host::error::HostCause;
use postern_intent::IfName;
use postern_intent::credential::{ExitCredential, SecretBytes};
use postern_plan::host::TunnelBackend;
use tokio::sync::OnceCell;

use crate::firewall::LastListing;
use crate::netlink::KeptSocket;
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
    /// Credentials of devices that do not use the node's key: those of sessions with servers outside.
    credentials: Mutex<BTreeMap<IfName, ExitCredential>>,
    last_listing: Mutex<LastListing>,
    grants: KeptSocket,
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
            credentials: Mutex::new(BTreeMap::new()),
            last_listing: Mutex::new(LastListing::none()),
            grants: KeptSocket::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// By which grants are written and read back.
    pub(crate) fn grants(&self) -> &KeptSocket {
        &self.inner.grants
    }

    /// Gives a device keys of its own, used from its next configuration on, or takes them away.
    pub(crate) fn set_credential(&self, device: &IfName, credential: Option<&ExitCredential>) {
        let mut credentials = self.credentials();
        match credential {
            Some(credential) => drop(credentials.insert(device.clone(), credential.clone())),
            None => drop(credentials.remove(device)),
        }
    }

    /// The private key of a device, and the preshared key of its peer.
    pub(crate) fn keys_of(&self, device: &IfName) -> (PrivateKey, Option<SecretBytes>) {
        match self.credentials().get(device) {
            Some(own) => (
                PrivateKey::from_bytes(*own.private_key.expose()),
                own.preshared_key.clone(),
            ),
            None => (self.inner.node_key.clone(), None),
        }
    }

    fn credentials(&self) -> MutexGuard<'_, BTreeMap<IfName, ExitCredential>> {
        let credentials = self.inner.credentials.lock();
        credentials.unwrap_or_else(PoisonError::into_inner)
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
