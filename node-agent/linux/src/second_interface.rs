//! Other interfaces of a pod than the one that the guard is in front of, seen from the host: the kernel lists the links of
//! another namespace by the number that the pod's link has for it, and that takes no path and no privilege in the pod.

use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use postern_host::error::{HostCause, Nature, errno};

use crate::netlink::{self, attribute, put, u16_at, u32_at};

/// `RTM_GETLINK`.
const GET_LINKS: u16 = 18;
/// `struct ifinfomsg`: family, type, index, flags, change.
const HEADER: usize = 16;
const TYPE: usize = 2;
const INDEX: usize = 4;
const FLAGS: usize = 8;
/// `ARPHRD_ETHER`.
const ETHERNET: u16 = 1;
/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 0x8;
/// `IFLA_IFNAME`.
const NAME: u16 = 3;
/// `IFLA_MASTER`.
const MASTER: u16 = 10;
/// `IFLA_LINKINFO`.
const INFO: u16 = 18;
/// `IFLA_LINK_NETNSID`.
const PEER_NAMESPACE: u16 = 37;
/// `IFLA_TARGET_NETNSID` (Linux 4.15).
const TARGET_NAMESPACE: u16 = 46;

/// The name of another interface in the namespace behind a link of the host; none where nothing is behind it, or where there
/// is only the link's own other end.
pub(crate) async fn find(link: &LinkMessage) -> Result<Option<String>, HostCause> {
    let (mut namespace, mut peer) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::LinkNetNsId(id) => namespace = Some(*id),
            LinkAttribute::Link(index) => peer = Some(*index),
            _ => {}
        }
    }
    let (Some(namespace), Some(peer)) = (namespace, peer) else {
        return Ok(None);
    };
    let mut request = vec![0; HEADER];
    put(&mut request, TARGET_NAMESPACE, &namespace.to_ne_bytes());
    let links = match netlink::dump(NETLINK_ROUTE, GET_LINKS, &request).await {
        // The pod went meanwhile, or the kernel is older than the question.
        Err(HostCause::Errno {
            errno: errno::EINVAL | errno::ENOENT,
        }) => return Ok(None),
        Err(cause) if cause.nature() == Nature::Unsupported => return Ok(None),
        other => other?,
    };
    let bodies = links.iter().map(|link| &link.body[..]);
    Ok(bodies.filter_map(|body| way_out(body, peer)).next())
}

/// The name of a link that leads out of the namespace by another way than the peer. A device without a kind is hardware, or
/// a virtual function of it; any other one has its lower or its other end in another namespace. A port of a bridge in the pod
/// leads to a namespace below it, as of containers in a container.
fn way_out(link: &[u8], peer: u32) -> Option<String> {
    let attributes = link.get(HEADER..)?;
    let is_peer = u32_at(link, INDEX)? == peer;
    let is_loopback = u32_at(link, FLAGS)? & LOOPBACK != 0;
    if is_peer || is_loopback || attribute(attributes, MASTER).is_some() {
        return None;
    }
    let is_hardware = u16_at(link, TYPE)? == ETHERNET && attribute(attributes, INFO).is_none();
    if !is_hardware && attribute(attributes, PEER_NAMESPACE).is_none() {
        return None;
    }
    let name = attribute(attributes, NAME)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    Some(String::from_utf8_lossy(name).into_owned())
}
