//! Egress addresses on uplinks, questions to neighbours and announcements.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{EgressAddresses, HostResult};
use postern_intent::Address;
use postern_plan::host::{EgressAddress, MacAddress};
use postern_plan::settings::ROUTE_PROTOCOL;
use tokio::time::{Instant, sleep};

use crate::announcement;
use crate::host::LinuxHost;
use crate::rtnl::{Rtnl, mac_of, name_of};

/// How long the neighbours' answer is waited for. The kernel asks three times, a second apart; hosts of one link answer
/// within milliseconds, and every second counts for those who wait for the address.
const ANSWER_WAIT: Duration = Duration::from_millis(1200);
/// Between two looks at the kernel's table of neighbours.
const LOOK: Duration = Duration::from_millis(20);

impl EgressAddresses for LinuxHost {
    async fn egress_addresses(&self) -> HostResult<BTreeMap<EgressAddress, u32>> {
        list(self.rtnl())
            .await
            .map_err(|source| HostError::ListAddresses { source })
    }

    async fn keep_egress(&self, address: &EgressAddress, seconds: NonZeroU32) -> HostResult<()> {
        let failed = |source| HostError::AddAddress {
            link: address.device.clone(),
            address: address.address.into(),
            source,
        };
        let message = message(self.rtnl(), address).await.map_err(failed)?;
        let request = RouteNetlinkMessage::NewAddress(lasting(message, address, seconds));
        self.rtnl()
            .act(request, NLM_F_CREATE | NLM_F_REPLACE)
            .await
            .map_err(failed)?;
        let Err(cause) = recorded(list(self.rtnl()).await, address) else {
            return Ok(());
        };
        // The agent could not find its own address again.
        self.drop_egress(address).await?;
        Err(failed(cause))
    }

    async fn drop_egress(&self, address: &EgressAddress) -> HostResult<()> {
        let failed = |source| HostError::RemoveAddress {
            link: address.device.clone(),
            address: address.address.into(),
            source,
        };
        let message = message(self.rtnl(), address).await.map_err(failed)?;
        match self
            .rtnl()
            .act(RouteNetlinkMessage::DelAddress(message), 0)
            .await
        {
            Ok(_)
            | Err(HostCause::Errno {
                errno: errno::EADDRNOTAVAIL,
            }) => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    async fn ask_neighbours(&self, address: &EgressAddress) -> HostResult<Option<MacAddress>> {
        ask(self.rtnl(), address)
            .await
            .map_err(|source| HostError::AskNeighbours {
                link: address.device.clone(),
                address: address.address,
                source,
            })
    }

    async fn announce_egress(&self, address: &EgressAddress) -> HostResult<()> {
        announce(self.rtnl(), address)
            .await
            .map_err(|source| HostError::Announce {
                link: address.device.clone(),
                address: address.address,
                source,
            })
    }
}

/// Does the kernel's list have the address as one of ours? A kernel before 5.18 takes it and ignores the attribute that says so.
fn recorded(
    list: Result<BTreeMap<EgressAddress, u32>, HostCause>,
    address: &EgressAddress,
) -> Result<(), HostCause> {
    match list?.contains_key(address) {
        true => Ok(()),
        false => Err(HostCause::Answer {
            what: "this kernel does not record whose an address is (IFA_PROTO, Linux 5.18)",
        }),
    }
}

async fn list(rtnl: &Rtnl) -> Result<BTreeMap<EgressAddress, u32>, HostCause> {
    let names = rtnl.names().await?;
    let answers = rtnl
        .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .await?;
    let ours = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => Some(message),
        _ => None,
    });
    let found = ours.filter_map(|message| {
        let address = ours_in(&message)?;
        let device = names.get(&message.header.index)?.parse().ok()?;
        Some((EgressAddress { device, address }, seconds_left(&message)))
    });
    Ok(found.collect())
}

/// The address of a message with our protocol number.
fn ours_in(message: &AddressMessage) -> Option<Address> {
    let ours = AddressAttribute::Protocol(AddressProtocol::Other(ROUTE_PROTOCOL));
    message.attributes.contains(&ours).then_some(())?;
    let mut attributes = message.attributes.iter();
    // Of IPv4 both attributes are there and are the same; IPv6 has the second one only.
    attributes.find_map(|attribute| match attribute {
        AddressAttribute::Local(address) | AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

/// For ever (`u32::MAX`, `INFINITY_LIFE_TIME`) where the kernel gives no end.
fn seconds_left(message: &AddressMessage) -> u32 {
    let mut attributes = message.attributes.iter();
    let lasts = attributes.find_map(|attribute| match attribute {
        AddressAttribute::CacheInfo(lasts) => Some(lasts.ifa_valid),
        _ => None,
    });
    lasts.unwrap_or(u32::MAX)
}

async fn message(rtnl: &Rtnl, address: &EgressAddress) -> Result<AddressMessage, HostCause> {
    let ip = address.address;
    let mut message = AddressMessage::default();
    message.header.index = rtnl.index(address.device.as_str()).await?;
    (message.header.family, message.header.prefix_len) = match ip.is_ipv4() {
        true => (AddressFamily::Inet, 32),
        false => (AddressFamily::Inet6, 128),
    };
    let both = [AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message.attributes.extend(both);
    Ok(message)
}

fn lasting(
    mut message: AddressMessage,
    address: &EgressAddress,
    seconds: NonZeroU32,
) -> AddressMessage {
    let mut lasts = CacheInfo::default();
    lasts.ifa_valid = seconds.get();
    // The node itself is not to choose the address: of IPv6 an address that is not preferred comes last in RFC 6724, and of
    // IPv4 the address whose prefix has the next hop comes first. An uplink without such a prefix (PPP, a cloud's /32) chooses
    // the address that was added first.
    lasts.ifa_preferred = match address.address.is_ipv4() {
        true => seconds.get(),
        false => 0,
    };
    let protocol = AddressProtocol::Other(ROUTE_PROTOCOL);
    message.attributes.extend([
        AddressAttribute::CacheInfo(lasts),
        AddressAttribute::Protocol(protocol),
    ]);
    if !address.address.is_ipv4() {
        // The neighbours were asked before: while the kernel asks them once more, nothing could leave from the address.
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

/// The kernel asks, and its table of neighbours has the answer. Without a socket of our own: an answer to it could be lost
/// among all other packets of the link.
async fn ask(rtnl: &Rtnl, address: &EgressAddress) -> Result<Option<MacAddress>, HostCause> {
    if mac(rtnl, address).await?.is_none() {
        return Ok(None);
    }
    let index = rtnl.index(address.device.as_str()).await?;
    if !address.address.is_ipv4() && !has_link_local(rtnl, index).await? {
        return Err(HostCause::Answer {
            what: "the link has no address to ask from yet",
        });
    }
    // An entry of before would be taken for an answer.
    forget(rtnl, index, address).await?;
    let mut asked = neighbour(index, address);
    asked.header.flags = NeighbourFlags::Use;
    let request = RouteNetlinkMessage::NewNeighbour(asked);
    rtnl.act(request, NLM_F_CREATE | NLM_F_REPLACE).await?;
    let until = Instant::now() + ANSWER_WAIT;
    let mut found = None;
    while found.is_none() && Instant::now() < until {
        sleep(LOOK).await;
        found = answer(rtnl, index, address).await?;
    }
    forget(rtnl, index, address).await?;
    Ok(found)
}

/// Has the device a link-local address that is not tentative? The kernel sends a solicitation without a packet behind it from such
/// an address only, and sends none where there is none.
async fn has_link_local(rtnl: &Rtnl, index: u32) -> Result<bool, HostCause> {
    let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut answers = rtnl.dump(all).await?.into_iter();
    Ok(answers.any(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) => {
            let is_tentative = message.attributes.iter().any(|attribute| match attribute {
                AddressAttribute::Flags(flags) => flags.contains(AddressFlags::Tentative),
                _ => false,
            });
            let mut attributes = message.attributes.iter();
            let is_local = attributes.any(|attribute| match attribute {
                AddressAttribute::Address(Address::V6(ip)) => ip.is_unicast_link_local(),
                _ => false,
            });
            message.header.index == index && is_local && !is_tentative
        }
        _ => false,
    }))
}

fn neighbour(index: u32, address: &EgressAddress) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    let (family, destination) = match address.address {
        Address::V4(ip) => (AddressFamily::Inet, NeighbourAddress::Inet(ip)),
        Address::V6(ip) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ip)),
    };
    message.header.family = family;
    let destination = NeighbourAttribute::Destination(destination);
    message.attributes.push(destination);
    message
}

async fn forget(rtnl: &Rtnl, index: u32, address: &EgressAddress) -> Result<(), HostCause> {
    let request = RouteNetlinkMessage::DelNeighbour(neighbour(index, address));
    match rtnl.act(request, 0).await {
        Ok(_)
        | Err(HostCause::Errno {
            errno: errno::ENOENT,
        }) => Ok(()),
        Err(cause) => Err(cause),
    }
}

/// Who answered, by the kernel's table of neighbours. O(neighbours of the node).
async fn answer(
    rtnl: &Rtnl,
    index: u32,
    address: &EgressAddress,
) -> Result<Option<MacAddress>, HostCause> {
    let wanted = neighbour(index, address);
    let mut all = NeighbourMessage::default();
    all.header.family = wanted.header.family;
    let answers = rtnl.dump(RouteNetlinkMessage::GetNeighbour(all)).await?;
    Ok(answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(found) => {
            let is_known = matches!(
                found.header.state,
                NeighbourState::Reachable
                    | NeighbourState::Stale
                    | NeighbourState::Delay
                    | NeighbourState::Probe
            );
            let is_it = found.header.ifindex == index
                && found.attributes.contains(wanted.attributes.first()?);
            (is_known && is_it).then(|| link_address(&found))?
        }
        _ => None,
    }))
}

fn link_address(found: &NeighbourMessage) -> Option<MacAddress> {
    let mut attributes = found.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            Some(MacAddress(<[u8; 6]>::try_from(bytes.as_slice()).ok()?))
        }
        _ => None,
    })
}

/// The MAC address of the device; none: it has no neighbours.
async fn mac(rtnl: &Rtnl, address: &EgressAddress) -> Result<Option<MacAddress>, HostCause> {
    let links = rtnl.links().await?;
    let mut links = links.iter();
    let link = links.find(|link| name_of(link) == address.device.as_str());
    let link = link.ok_or(HostCause::errno(errno::ENODEV))?;
    Ok(mac_of(link).filter(|mac| mac.0 != [0; 6]))
}

async fn announce(rtnl: &Rtnl, address: &EgressAddress) -> Result<(), HostCause> {
    let Some(mac) = mac(rtnl, address).await? else {
        return Ok(());
    };
    let index = rtnl.index(address.device.as_str()).await?;
    announcement::send(&address.device, index, mac, address.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_read_is_not_called_a_kernel_that_does_not_record_whose_an_address_is()
    {
        let address = EgressAddress {
            device: "eth0".parse().unwrap(),
            address: "203.0.113.7".parse().unwrap(),
        };
        let there = BTreeMap::from([(address.clone(), 30)]);
        assert!(recorded(Ok(there), &address).is_ok());
        let unreadable = recorded(Err(HostCause::errno(errno::EINTR)), &address);
        assert!(
            matches!(
                unreadable,
                Err(HostCause::Errno {
                    errno: errno::EINTR
                })
            ),
            "{unreadable:?}"
        );
        let unknown = recorded(Ok(BTreeMap::new()), &address);
        assert!(
            matches!(unknown, Err(HostCause::Answer { what }) if what.contains("IFA_PROTO")),
            "{unknown:?}"
        );
    }
}
