//! What the tunnel process serves.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{IfName, WgKey};
use postern_plan::host::ObservedTunnel;

/// The tunnel process, if there is one, and what it was asked to serve.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// The node's key, while the process runs.
    pub(super) process: Option<WgKey>,
    /// Devices that were asked for and not dismissed; they outlive the process.
    pub(super) requested: BTreeSet<IfName>,
    /// Devices that the process serves.
    pub(super) devices: BTreeMap<IfName, ObservedTunnel>,
}

impl Served {
    pub(super) fn serves(&self, device: &IfName) -> bool {
        self.devices.contains_key(device)
    }
}
