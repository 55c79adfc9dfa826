use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{Addresses, HostResult};
use postern_intent::IfName;

use crate::host::LinuxHost;
use crate::rtnl::Rtnl;

impl Addresses for LinuxHost {
    async fn add_address(&self, device: &IfName, address: IpNet) -> HostResult<()> {
        let failed = |source| HostError::AddAddress {
            link: device.clone(),
            address,
            source,
        };
        let mut message = message(self.rtnl(), device, address)
            .await
            .map_err(failed)?;
        if let IpNet::V6(_) = address {
            // Without this the address is tentative for a second and nothing can be sent from it; on a tunnel there
            // is no neighbour who could object.
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let request = RouteNetlinkMessage::NewAddress(message);
        self.rtnl()
            .act(request, NLM_F_CREATE | NLM_F_EXCL)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn remove_address(&self, device: &IfName, address: IpNet) -> HostResult<()> {
        let failed = |source| HostError::RemoveAddress {
            link: device.clone(),
            address,
            source,
        };
        let message = message(self.rtnl(), device, address)
            .await
            .map_err(failed)?;
        self.rtnl()
            .act(RouteNetlinkMessage::DelAddress(message), 0)
            .await
            .map(drop)
            .map_err(failed)
    }
}

async fn message(
    rtnl: &Rtnl,
    device: &IfName,
    address: IpNet,
) -> Result<AddressMessage, HostCause> {
    let mut message = AddressMessage::default();
    message.header.index = rtnl.index(device.as_str()).await?;
    message.header.prefix_len = address.prefix_len();
    message.header.family = match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message
        .attributes
        .push(AddressAttribute::Local(address.addr()));
    message
        .attributes
        .push(AddressAttribute::Address(address.addr()));
    Ok(message)
}
