//! Tunnel devices: made by us, persistent, so that a dead tunnel process takes no route with it.

use std::collections::BTreeSet;

use ipnet::IpNet;
use postern_intent::IfName;

use super::PlanInputs;
use crate::host::{DeviceKey, DeviceSetting, TunnelBackend, TunnelLink};

/// What belongs to the tunnel devices.
#[derive(Default)]
pub(super) struct TunnelParts {
    pub(super) links: BTreeSet<TunnelLink>,
    pub(super) devices: BTreeSet<DeviceSetting>,
    pub(super) addresses: BTreeSet<(IfName, IpNet)>,
}

/// Reverse path filtering 2 and not 1: a pod's answer arrives on the tunnel while the main table leads elsewhere.
/// Without a default route in the main table even 2 drops it, and then it must be 0.
const LOOSE: u8 = 2;
const OFF: u8 = 0;

pub(super) fn tunnels(inputs: &PlanInputs<'_>, backend: TunnelBackend) -> TunnelParts {
    let mut parts = TunnelParts::default();
    let Some(body) = inputs.body else {
        return parts;
    };
    let filter = if inputs.facts.uplinks.is_empty() {
        OFF
    } else {
        LOOSE
    };
    for tunnel in &body.tunnels {
        let name = &tunnel.interface;
        parts.links.insert(TunnelLink {
            name: name.clone(),
            mtu: u32::from(tunnel.mtu),
            backend,
        });
        for (key, value) in [
            (DeviceKey::ReversePathFilter, filter),
            (DeviceKey::Forwarding4, 1),
            (DeviceKey::Forwarding6, 1),
            (DeviceKey::AcceptRouterAdvertisements, 0),
            (DeviceKey::DuplicateAddressDetection, 0),
            (DeviceKey::AddressGeneration, 1),
            (DeviceKey::IgnoreRoutesWithLinkdown4, 1),
            (DeviceKey::IgnoreRoutesWithLinkdown6, 1),
        ] {
            parts.devices.insert(DeviceSetting {
                device: name.clone(),
                key,
                value,
            });
        }
        parts.addresses.extend(
            tunnel
                .addresses
                .iter()
                .map(|address| (name.clone(), *address)),
        );
    }
    parts
}
