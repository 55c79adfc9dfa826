//! Ways past netfilter: tc filters of the ingress and clsact queueing disciplines, XDP, netkit, programs of tcx, and other
//! interfaces of the pod behind a link, as the kernel lists them.
//!
//! What sits at tc sees a packet before netfilter on its way in and after it on its way out, and may send it to another
//! device from there. A `netdev` egress hook of that device does not see it either.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};
use netlink_sys::protocols::NETLINK_ROUTE;
use postern_host::bypass::{Bypass, Direction};
use postern_host::error::{HostCause, HostError, Nature};
use postern_host::ports::{HostResult, Paths};
use postern_intent::IfName;

use crate::host::LinuxHost;
use crate::link::kind_of;
use crate::netlink::{self, Message, attribute, attributes, u32_at};
use crate::rtnl::{Rtnl, name_of};
use crate::second_interface;
use crate::tcx;

/// `RTM_GETQDISC`.
const GET_DISCIPLINES: u16 = 38;
/// `RTM_GETTFILTER`.
const GET_FILTERS: u16 = 46;
/// `struct tcmsg`: family and padding, interface, handle, parent, information.
const HEADER: usize = 20;
const PARENT: usize = 12;
/// `TC_H_INGRESS`, which is `TC_H_CLSACT`: where both disciplines hang.
const INGRESS: u32 = 0xffff_fff1;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
const INGRESS_FILTERS: u32 = 0xffff_fff2;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`.
const EGRESS_FILTERS: u32 = 0xffff_fff3;
/// `TCA_KIND`.
const KIND: u16 = 1;
/// `TCA_OPTIONS`.
const OPTIONS: u16 = 2;
/// `TCA_BPF_NAME`.
const BPF_NAME: u16 = 7;
/// `TCA_ACT_KIND`.
const ACTION_KIND: u16 = 1;
/// `TCA_ACT_OPTIONS`.
const ACTION_OPTIONS: u16 = 2;
/// `TCA_ACT_BPF_NAME`.
const ACTION_BPF_NAME: u16 = 6;
/// `TCA_MIRRED_PARMS`: `struct tc_mirred`, the common part (20), what to do, the device.
const MIRRED: u16 = 2;
const MIRRED_WHAT: usize = 20;
const MIRRED_DEVICE: usize = 24;

impl Paths for LinuxHost {
    async fn bypasses(&self, links: &BTreeSet<IfName>) -> HostResult<BTreeMap<IfName, Bypass>> {
        let found = find(self.rtnl(), links).await;
        found.map_err(|source| HostError::ReadPaths { source })
    }
}

async fn find(
    rtnl: &Rtnl,
    wanted: &BTreeSet<IfName>,
) -> Result<BTreeMap<IfName, Bypass>, HostCause> {
    let links = rtnl.links().await?;
    let devices: BTreeMap<u32, Device> = links
        .iter()
        .map(|link| (link.header.index, Device::of(link)))
        .collect();
    let disciplines = disciplines().await?;
    let mut out = BTreeMap::new();
    for link in &links {
        let Ok(name) = name_of(link).parse::<IfName>() else {
            continue;
        };
        if !wanted.contains(&name) {
            continue;
        }
        if let Some(bypass) = of_link(link, &devices, &disciplines).await? {
            out.insert(name, bypass);
        }
    }
    Ok(out)
}

/// What must be known of the device that packets are sent to.
struct Device {
    name: String,
    kind: String,
}

impl Device {
    fn of(link: &LinkMessage) -> Self {
        Self {
            name: name_of(link),
            kind: kind_of(link),
        }
    }
}

async fn of_link(
    link: &LinkMessage,
    devices: &BTreeMap<u32, Device>,
    disciplines: &BTreeMap<u32, &'static [Direction]>,
) -> Result<Option<Bypass>, HostCause> {
    if has_program(link) {
        return Ok(Some(Bypass::Xdp));
    }
    if kind_of(link) == "netkit" {
        return Ok(Some(Bypass::Netkit));
    }
    if let Some(name) = second_interface::find(link).await? {
        return Ok(Some(Bypass::SecondInterface { name }));
    }
    if let Some(bypass) = tcx::find(&name_of(link))? {
        return Ok(Some(bypass));
    }
    for direction in disciplines
        .get(&link.header.index)
        .copied()
        .unwrap_or_default()
    {
        for filter in filters(link.header.index, *direction).await? {
            if let Some(bypass) = of_filter(&filter.body, *direction, devices) {
                return Ok(Some(bypass));
            }
        }
    }
    Ok(None)
}

fn has_program(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Xdp(parts) => parts.iter().any(
            |part| matches!(part, LinkXdp::Attached(attached) if *attached != XdpAttached::None),
        ),
        _ => false,
    })
}

/// Which directions have filters, by the index of the link. A kernel without traffic control has none.
async fn disciplines() -> Result<BTreeMap<u32, &'static [Direction]>, HostCause> {
    let messages = match netlink::dump(NETLINK_ROUTE, GET_DISCIPLINES, &[0; HEADER]).await {
        Err(cause) if cause.nature() == Nature::Unsupported => return Ok(BTreeMap::new()),
        other => other?,
    };
    Ok(messages
        .iter()
        .filter_map(|message| discipline(&message.body))
        .collect())
}

fn discipline(body: &[u8]) -> Option<(u32, &'static [Direction])> {
    let index = u32_at(body, 4)?;
    if u32_at(body, PARENT)? != INGRESS {
        return None;
    }
    match text(attribute(body.get(HEADER..)?, KIND)?).as_str() {
        "clsact" => Some((index, &[Direction::Ingress, Direction::Egress])),
        // The older one knows one direction and answers a question for the other one with the same filters.
        _ => Some((index, &[Direction::Ingress])),
    }
}

/// Filters of every chain and priority, those of a block that devices share too.
async fn filters(index: u32, direction: Direction) -> Result<Vec<Message>, HostCause> {
    let parent = match direction {
        Direction::Ingress => INGRESS_FILTERS,
        Direction::Egress => EGRESS_FILTERS,
    };
    let mut request = Vec::with_capacity(HEADER);
    request.extend([0; 4]);
    request.extend(index.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend(parent.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    netlink::dump(NETLINK_ROUTE, GET_FILTERS, &request).await
}

fn of_filter(body: &[u8], direction: Direction, devices: &BTreeMap<u32, Device>) -> Option<Bypass> {
    let rest = body.get(HEADER..)?;
    let options = attribute(rest, OPTIONS)?;
    let kind = text(attribute(rest, KIND)?);
    if kind == "bpf" {
        // The kernel lists a classifier once without options, as the head of its filters.
        let name = attribute(options, BPF_NAME).map(text).unwrap_or_default();
        return Some(Bypass::Program { direction, name });
    }
    let actions = attribute(options, actions_of(&kind)?)?;
    attributes(actions)
        .into_iter()
        .find_map(|(_, action)| of_action(action, direction, devices))
}

/// Where a classifier keeps its actions: `TCA_U32_ACT`, `TCA_FLOWER_ACT` and so on, by
/// `include/uapi/linux/pkt_cls.h`.
fn actions_of(classifier: &str) -> Option<u16> {
    match classifier {
        "cgroup" => Some(1),
        "matchall" => Some(2),
        "basic" | "flower" => Some(3),
        "fw" => Some(4),
        "route" => Some(6),
        "u32" => Some(7),
        "flow" => Some(9),
        _ => None,
    }
}

fn of_action(
    action: &[u8],
    direction: Direction,
    devices: &BTreeMap<u32, Device>,
) -> Option<Bypass> {
    let options = attribute(action, ACTION_OPTIONS).unwrap_or_default();
    match text(attribute(action, ACTION_KIND)?).as_str() {
        "bpf" => {
            let name = attribute(options, ACTION_BPF_NAME)
                .map(text)
                .unwrap_or_default();
            Some(Bypass::Program { direction, name })
        }
        "mirred" => of_mirred(attribute(options, MIRRED)?, direction, devices),
        _ => None,
    }
}

fn of_mirred(
    parameters: &[u8],
    direction: Direction,
    devices: &BTreeMap<u32, Device>,
) -> Option<Bypass> {
    let index = u32_at(parameters, MIRRED_DEVICE)?;
    let device = devices.get(&index);
    // An `ifb` gives every packet back to the device that it came from, at the same place: the CNI plugin `bandwidth`
    // shapes with it, and netfilter sees those packets.
    if device.is_some_and(|device| device.kind == "ifb") {
        return None;
    }
    let to = device.map_or_else(|| format!("device {index}"), |device| device.name.clone());
    match u32_at(parameters, MIRRED_WHAT)? {
        1 | 3 => Some(Bypass::Redirect { direction, to }),
        2 | 4 => Some(Bypass::Mirror { direction, to }),
        _ => None,
    }
}

/// A string attribute, which ends with a zero.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip link set dev veth1 xdpgeneric obj ...` shows as `IFLA_XDP { IFLA_XDP_ATTACHED: XDP_ATTACHED_SKB }`; without a
    /// program every link has `XDP_ATTACHED_NONE`.
    #[test]
    fn an_xdp_program_is_told_from_none() {
        let link = |attached| {
            let mut link = LinkMessage::default();
            link.attributes
                .push(LinkAttribute::Xdp(vec![LinkXdp::Attached(attached)]));
            link
        };
        assert!(has_program(&link(XdpAttached::SocketBuffer)));
        assert!(has_program(&link(XdpAttached::Driver)));
        assert!(!has_program(&link(XdpAttached::None)));
        assert!(!has_program(&LinkMessage::default()));
    }
}
