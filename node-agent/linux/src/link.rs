use std::collections::BTreeMap;
use std::io;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{HostResult, Links};
use postern_intent::IfName;
use postern_plan::host::{AdminState, Carrier, ObservedLink, TunnelBackend, TunnelLink};

use crate::host::LinuxHost;
use crate::rtnl::{Rtnl, mac_of, name_of};
use crate::wireguard_link::{add_wireguard, remove};

impl Links for LinuxHost {
    async fn list_links(&self) -> HostResult<Vec<ObservedLink>> {
        list(self.rtnl())
            .await
            .map_err(|source| HostError::ListLinks { source })
    }

    async fn add_link(&self, link: &TunnelLink) -> HostResult<()> {
        add(self.rtnl(), link)
            .await
            .map_err(|source| HostError::AddLink {
                link: link.name.clone(),
                source,
            })
    }

    async fn remove_link(&self, name: &IfName) -> HostResult<()> {
        remove(self.rtnl(), name.as_str())
            .await
            .map_err(|source| HostError::RemoveLink {
                link: name.clone(),
                source,
            })
    }

    async fn set_mtu(&self, name: &IfName, mtu: u32) -> HostResult<()> {
        set_mtu(self.rtnl(), name.as_str(), mtu)
            .await
            .map_err(|source| HostError::SetMtu {
                link: name.clone(),
                mtu,
                source,
            })
    }

    async fn set_state(&self, name: &IfName, state: AdminState) -> HostResult<()> {
        set_state(self.rtnl(), name.as_str(), state)
            .await
            .map_err(|source| HostError::SetState {
                link: name.clone(),
                source,
            })
    }
}

/// Kinds of devices on top of another one, by which they send.
const STACKED: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "macsec"];

async fn list(rtnl: &Rtnl) -> Result<Vec<ObservedLink>, HostCause> {
    let links = rtnl.links().await?;
    let mut addresses = addresses(rtnl).await?;
    let names: BTreeMap<u32, String> = links
        .iter()
        .map(|link| (link.header.index, name_of(link)))
        .collect();
    let mut out: Vec<ObservedLink> = links
        .iter()
        .map(|link| {
            observed(
                link,
                &names,
                addresses.remove(&link.header.index).unwrap_or_default(),
            )
        })
        .collect();
    out.sort_by_key(|link| link.index);
    Ok(out)
}

fn observed(
    link: &LinkMessage,
    names: &BTreeMap<u32, String>,
    addresses: Vec<IpNet>,
) -> ObservedLink {
    let state = if link.header.flags.contains(LinkFlags::Up) {
        AdminState::Up
    } else {
        AdminState::Down
    };
    let mut out = ObservedLink {
        index: link.header.index,
        name: name_of(link),
        kind: String::new(),
        mtu: 0,
        state,
        carrier: Carrier::Absent,
        master: None,
        parent: None,
        mac: mac_of(link),
        addresses,
    };
    let mut parent = None;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => out.mtu = *mtu,
            // Not `/sys/class/net`: that shows the namespace in which it was mounted, whatever the thread's is.
            LinkAttribute::Carrier(1) => out.carrier = Carrier::Present,
            LinkAttribute::Controller(index) => out.master = names.get(index).cloned(),
            LinkAttribute::LinkInfo(infos) => out.kind = kind(infos),
            LinkAttribute::Link(index) => parent = names.get(index).cloned(),
            _ => {}
        }
    }
    // Of a veth the attribute is the number of its peer, which may be one of another namespace.
    if STACKED.contains(&out.kind.as_str()) {
        out.parent = parent;
    }
    out
}

/// `IFLA_INFO_KIND`; empty for a device without a kind.
pub(crate) fn kind_of(link: &LinkMessage) -> String {
    let infos = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos.as_slice()),
            _ => None,
        });
    infos.map(kind).unwrap_or_default()
}

fn kind(infos: &[LinkInfo]) -> String {
    infos
        .iter()
        .find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

async fn addresses(rtnl: &Rtnl) -> Result<BTreeMap<u32, Vec<IpNet>>, HostCause> {
    let mut out: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for message in address_messages(rtnl).await? {
        if let Some(net) = net_of(&message) {
            out.entry(message.header.index).or_default().push(net);
        }
    }
    out.values_mut().for_each(|nets| nets.sort());
    Ok(out)
}

/// Addresses of a link that do not end by themselves, and that no router advertisement gave.
pub(crate) async fn permanent_addresses(rtnl: &Rtnl, index: u32) -> Result<Vec<IpNet>, HostCause> {
    let messages = address_messages(rtnl).await?;
    let own = messages
        .iter()
        .filter(|message| message.header.index == index);
    Ok(own
        .filter(|message| is_permanent(message))
        .filter_map(net_of)
        .collect())
}

fn is_permanent(message: &AddressMessage) -> bool {
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(all) => flags = *all,
            // One whose life is infinite has no other mark (`IFA_PROTO`, Linux 5.18).
            AddressAttribute::Protocol(AddressProtocol::RouterAnnouncement) => return false,
            _ => {}
        }
    }
    flags.contains(AddressFlags::Permanent)
}

async fn address_messages(rtnl: &Rtnl) -> Result<Vec<AddressMessage>, HostCause> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = rtnl.dump(request).await?.into_iter();
    Ok(answers
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        })
        .collect())
}

/// On a point-to-point device IFA_ADDRESS is the other end's and IFA_LOCAL is ours; IPv6 has IFA_ADDRESS only.
fn net_of(message: &AddressMessage) -> Option<IpNet> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(value) => local = Some(*value),
            AddressAttribute::Address(value) => address = Some(*value),
            _ => {}
        }
    }
    IpNet::new(local.or(address)?, message.header.prefix_len).ok()
}

async fn add(rtnl: &Rtnl, link: &TunnelLink) -> Result<(), HostCause> {
    match link.backend {
        TunnelBackend::Kernel => add_wireguard(rtnl, link.name.as_str()).await?,
        TunnelBackend::Userspace => add_persistent_tun(rtnl, &link.name).await?,
    }
    // A device with the wrong MTU would be adopted as the right one by its name, so it goes again.
    if let Err(cause) = set_mtu(rtnl, link.name.as_str(), link.mtu).await {
        remove(rtnl, link.name.as_str()).await?;
        return Err(cause);
    }
    Ok(())
}

/// Netlink refuses to make a TUN (`ip link add type tun`: `Error: Unknown device type` or `EOPNOTSUPP`), so it is made
/// by the TUN driver's own calls. `TUNSETIFF` attaches to a device that is there, so that is looked at before.
async fn add_persistent_tun(rtnl: &Rtnl, name: &IfName) -> Result<(), HostCause> {
    match rtnl.index(name.as_str()).await {
        Ok(_) => return Err(HostCause::errno(errno::EEXIST)),
        Err(HostCause::Errno {
            errno: errno::ENODEV,
        }) => {}
        Err(cause) => return Err(cause),
    }
    let name = name.clone();
    let made = tokio::task::spawn_blocking(move || -> io::Result<()> {
        // Not brought up: `enable` stands for IFF_UP, and an address must be there before the first packet is.
        let device = tun_rs::DeviceBuilder::new()
            .name(name.as_str())
            .enable(false)
            .build_sync()?;
        device.persist()
    });
    match made.await {
        Ok(outcome) => outcome.map_err(without_tun),
        Err(_) => Err(HostCause::Io {
            kind: io::ErrorKind::Other,
        }),
    }
}

/// No device node, or nothing behind it: `open("/dev/net/tun")` fails with one of these.
pub(crate) fn without_tun(error: io::Error) -> HostCause {
    const ENXIO: i32 = 6;
    match error.raw_os_error() {
        Some(errno::ENOENT | errno::ENODEV | ENXIO) => HostCause::NoDevice {
            path: "/dev/net/tun",
        },
        _ => error.into(),
    }
}

async fn set_mtu(rtnl: &Rtnl, name: &str, mtu: u32) -> Result<(), HostCause> {
    let mut message = LinkMessage::default();
    message.header.index = rtnl.index(name).await?;
    message.attributes.push(LinkAttribute::Mtu(mtu));
    rtnl.act(RouteNetlinkMessage::SetLink(message), 0)
        .await
        .map(drop)
}

async fn set_state(rtnl: &Rtnl, name: &str, state: AdminState) -> Result<(), HostCause> {
    let mut message = LinkMessage::default();
    message.header.index = rtnl.index(name).await?;
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = match state {
        AdminState::Up => LinkFlags::Up,
        AdminState::Down => LinkFlags::empty(),
    };
    rtnl.act(RouteNetlinkMessage::SetLink(message), 0)
        .await
        .map(drop)
}
