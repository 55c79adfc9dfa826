//! Tunnel devices, their switches and addresses.

use std::collections::BTreeSet;

use ipnet::IpNet;
use postern_intent::IfName;

use crate::desired::Desired;
use crate::host::{AdminState, ObservedLink, TunnelBackend, TunnelLink};
use crate::observed::Observed;
use crate::step::Step;

const fn kind(backend: TunnelBackend) -> &'static str {
    match backend {
        TunnelBackend::Kernel => "wireguard",
        TunnelBackend::Userspace => "tun",
    }
}

/// Is the name one of ours?
#[must_use]
pub fn is_ours(name: &str) -> bool {
    ["pst-c-", "pst-s-", "pst-x-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Devices that nobody wants any more, or of the wrong kind. They go before others come: two devices with one name
/// cannot be.
#[must_use]
pub fn removals(desired: &Desired, observed: &Observed) -> Vec<Step> {
    observed
        .links
        .iter()
        .filter(|link| is_ours(&link.name))
        .filter(|link| {
            !desired.links.iter().any(|wanted| {
                wanted.name.as_str() == link.name && kind(wanted.backend) == link.kind
            })
        })
        .filter_map(|link| {
            let name: IfName = link.name.parse().ok()?;
            let backend = if link.kind == "wireguard" {
                TunnelBackend::Kernel
            } else {
                TunnelBackend::Userspace
            };
            Some(Step::RemoveLink(TunnelLink {
                name,
                mtu: link.mtu,
                backend,
            }))
        })
        .collect()
}

/// Devices that are missing, their switches, state and addresses, in the order in which the kernel wants them.
#[must_use]
pub fn additions(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    for wanted in &desired.links {
        let there = find(observed, wanted);
        match there {
            None => steps.push(Step::AddLink(wanted.clone())),
            Some(link) if link.mtu != wanted.mtu => steps.push(Step::SetMtu(wanted.clone())),
            Some(_) => {}
        }
        let settings = desired
            .devices
            .iter()
            .filter(|setting| setting.device == wanted.name);
        let missing =
            settings.filter(|setting| there.is_none() || !observed.devices.contains(*setting));
        steps.extend(missing.cloned().map(Step::SetDevice));
        if there.is_none_or(|link| link.state == AdminState::Down) {
            steps.push(Step::SetUp(wanted.name.clone()));
        }
        steps.extend(addresses(desired, wanted, there));
    }
    steps
}

fn find<'a>(observed: &'a Observed, wanted: &TunnelLink) -> Option<&'a ObservedLink> {
    observed
        .links
        .iter()
        .find(|link| link.name == wanted.name.as_str() && link.kind == kind(wanted.backend))
}

fn addresses(desired: &Desired, wanted: &TunnelLink, there: Option<&ObservedLink>) -> Vec<Step> {
    let want: BTreeSet<IpNet> = desired
        .addresses
        .iter()
        .filter(|(device, _)| device == &wanted.name)
        .map(|(_, address)| *address)
        .collect();
    let have: BTreeSet<IpNet> = there
        .map(|link| {
            link.addresses
                .iter()
                .copied()
                .filter(|address| !is_link_local(address))
                .collect()
        })
        .unwrap_or_default();
    let device = || wanted.name.clone();
    let gone = have.difference(&want).map(|address| Step::RemoveAddress {
        device: device(),
        address: *address,
    });
    let new = want.difference(&have).map(|address| Step::AddAddress {
        device: device(),
        address: *address,
    });
    gone.chain(new).collect()
}

const fn is_link_local(address: &IpNet) -> bool {
    match address {
        IpNet::V4(_) => false,
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    }
}
