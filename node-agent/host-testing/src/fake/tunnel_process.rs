//! The tunnel process of the fake host, and the devices that it serves.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{IfName, WgKey};
use postern_plan::host::ObservedTunnel;

/// The state of the tunnel process. The process may not run.
#[derive(Debug, Default)]
pub(super) struct TunnelProcess {
    /// The node's key, while the process runs.
    pub(super) process: Option<WgKey>,
    /// Devices that were asked for and not dismissed; they outlive the process.
    pub(super) requested: BTreeSet<IfName>,
    /// Devices that the process serves.
    pub(super) devices: BTreeMap<IfName, ObservedTunnel>,
}

impl TunnelProcess {
    pub(super) fn serves(&self, device: &IfName) -> bool {
        self.devices.contains_key(device)
    }
}
