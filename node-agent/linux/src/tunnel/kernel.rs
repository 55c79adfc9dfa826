//! Devices of kind `wireguard`, by generic netlink.

use postern_host::error::{Cause, errno};
use postern_intent::{IfName, WgKey};
use postern_plan::host::{ObservedTunnel, TunnelConfig};

use super::key::PrivateKey;

pub(super) async fn read(_device: &IfName) -> Result<Option<ObservedTunnel>, Cause> {
    Err(Cause::errno(errno::EOPNOTSUPP))
}

pub(super) async fn configure(_config: &TunnelConfig, _key: &PrivateKey) -> Result<(), Cause> {
    Err(Cause::errno(errno::EOPNOTSUPP))
}

pub(super) async fn remove_peer(_device: &IfName, _peer: &WgKey) -> Result<(), Cause> {
    Err(Cause::errno(errno::EOPNOTSUPP))
}
