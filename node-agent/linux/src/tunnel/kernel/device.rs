//! Reading and changing a device.

use netlink_sys::protocols::NETLINK_GENERIC;
use postern_host::error::{HostCause, errno};
use postern_intent::credential::SecretBytes;
use postern_intent::{IfName, WgKey};
use postern_plan::host::{ObservedTunnel, TunnelConfig};

use super::wire;
use crate::netlink;
use crate::tunnel::change::{TunnelChange, changes};
use crate::tunnel::key::PrivateKey;

/// What the device answers; none when there is no such device.
pub(in crate::tunnel) async fn read(device: &IfName) -> Result<Option<ObservedTunnel>, HostCause> {
    let family = family().await?;
    match netlink::dump(NETLINK_GENERIC, family, &wire::get(device)).await {
        Ok(messages) => {
            let bodies: Vec<&[u8]> = messages
                .iter()
                .map(|message| message.body.as_slice())
                .collect();
            wire::device(device, &bodies).map(Some)
        }
        Err(HostCause::Errno {
            errno: errno::ENODEV,
        }) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Makes the device what it should be.
pub(in crate::tunnel) async fn configure(
    config: &TunnelConfig,
    key: &PrivateKey,
    preshared: Option<&SecretBytes>,
) -> Result<(), HostCause> {
    let observed = read(&config.interface)
        .await?
        .ok_or(HostCause::errno(errno::ENODEV))?;
    change(
        &config.interface,
        &changes(&observed, config, key, preshared),
    )
    .await
}

/// Removes a peer; the kernel ignores the removal of one that is not there.
pub(in crate::tunnel) async fn remove_peer(device: &IfName, peer: &WgKey) -> Result<(), HostCause> {
    change(device, &[TunnelChange::RemovePeer(*peer)]).await
}

/// One message a change: the kernel takes them in order, and each stays far below the 64 KiB of a nested attribute.
async fn change(device: &IfName, list: &[TunnelChange<'_>]) -> Result<(), HostCause> {
    if list.is_empty() {
        return Ok(());
    }
    let family = family().await?;
    for message in list.iter().flat_map(|change| wire::set(device, change)) {
        netlink::act(NETLINK_GENERIC, family, 0, &message).await?;
    }
    Ok(())
}

/// The number that the kernel gave the `wireguard` family; without the module there is none.
async fn family() -> Result<u16, HostCause> {
    let answer = netlink::get(NETLINK_GENERIC, wire::CONTROLLER, &wire::get_family()).await;
    let messages = match answer {
        Err(HostCause::Errno {
            errno: errno::ENOENT,
        }) => return Err(HostCause::errno(errno::EOPNOTSUPP)),
        other => other?,
    };
    let found = messages
        .iter()
        .find_map(|message| wire::family_number(&message.body));
    found.ok_or(HostCause::Answer {
        what: "generic netlink gave no number for wireguard",
    })
}
