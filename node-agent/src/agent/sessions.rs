//! What the agent knows of its sessions with servers outside of the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use postern_intent::IfName;
use postern_intent::body::{SealedCredential, ServerEndpoint};

use crate::endpoints::{EndpointHandle, FoundEndpoints};

/// What the agent knows of its sessions.
pub struct ExternalSessions {
    /// The task that resolves names of servers.
    pub(super) endpoints: EndpointHandle,
    /// By device.
    pub(super) known: BTreeMap<IfName, KnownSession>,
    /// Addresses that names of servers have, by device.
    pub(super) resolved: FoundEndpoints,
}

/// One session.
pub(super) struct KnownSession {
    pub(super) credential: SealedCredential,
    pub(super) endpoint: ServerEndpoint,
    /// Why the credential cannot be read.
    pub(super) fault: Option<String>,
    /// The address that its name had when it was used first.
    pub(super) resolved: Option<SocketAddr>,
    /// The address in use: a server may answer from another one.
    pub(super) in_use: Option<SocketAddr>,
}

impl ExternalSessions {
    /// Before the first body.
    #[must_use]
    pub const fn new(endpoints: EndpointHandle) -> Self {
        Self {
            endpoints,
            known: BTreeMap::new(),
            resolved: FoundEndpoints::new(),
        }
    }

    /// Why credentials cannot be read, by device.
    pub fn faults(&self) -> BTreeMap<IfName, String> {
        let known = self.known.iter();
        let faulty = known.filter_map(|(device, one)| Some((device.clone(), one.fault.clone()?)));
        faulty.collect()
    }
}
