//! Routes of ours: those with our protocol number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use postern_host::error::{HostCause, HostError};
use postern_host::ports::{HostResult, Routes};
use postern_intent::{IfName, Prefix};
use postern_plan::host::{Family, KernelRoute, RouteKind};
use postern_plan::settings::ROUTE_PROTOCOL;

use crate::host::LinuxHost;
use crate::rtnl::Rtnl;

impl Routes for LinuxHost {
    async fn list_routes(&self) -> HostResult<BTreeSet<KernelRoute>> {
        list(self.rtnl())
            .await
            .map_err(|source| HostError::ListRoutes { source })
    }

    async fn default_uplinks(&self) -> HostResult<BTreeMap<char, IfName>> {
        uplinks(self.rtnl())
            .await
            .map_err(|source| HostError::ListRoutes { source })
    }

    async fn add_route(&self, route: &KernelRoute) -> HostResult<()> {
        let failed = |source| HostError::AddRoute {
            route: Box::new(route.clone()),
            source,
        };
        let message = encode(self.rtnl(), route).await.map_err(failed)?;
        let request = RouteNetlinkMessage::NewRoute(message);
        self.rtnl()
            .act(request, NLM_F_CREATE | NLM_F_REPLACE)
            .await
            .map(drop)
            .map_err(failed)
    }

    async fn remove_route(&self, route: &KernelRoute) -> HostResult<()> {
        let failed = |source| HostError::RemoveRoute {
            route: Box::new(route.clone()),
            source,
        };
        let message = encode(self.rtnl(), route).await.map_err(failed)?;
        self.rtnl()
            .act(RouteNetlinkMessage::DelRoute(message), 0)
            .await
            .map(drop)
            .map_err(failed)
    }
}

async fn list(rtnl: &Rtnl) -> Result<BTreeSet<KernelRoute>, HostCause> {
    let names = rtnl.names().await?;
    let ours =
        |message: &RouteMessage| message.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL);
    let mut out = BTreeSet::new();
    for family in Family::BOTH {
        out.extend(
            dump(rtnl, family)
                .await?
                .iter()
                .filter(|m| ours(m))
                .filter_map(|m| decode(family, m, &names)),
        );
    }
    Ok(out)
}

async fn dump(rtnl: &Rtnl, family: Family) -> Result<Vec<RouteMessage>, HostCause> {
    let mut message = RouteMessage::default();
    message.header.address_family = address_family(family);
    let answers = rtnl.dump(RouteNetlinkMessage::GetRoute(message)).await?;
    let route = |answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(route).collect())
}

pub(crate) const fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// What a route's attributes say.
struct RouteAttributes {
    /// The header's number is 252 (`RT_TABLE_COMPAT`) for tables above 255; the attribute is always right.
    table: u32,
    destination: Option<IpAddr>,
    metric: u32,
    oif: Option<u32>,
}

fn facts(message: &RouteMessage) -> RouteAttributes {
    let mut facts = RouteAttributes {
        table: u32::from(message.header.table),
        destination: None,
        metric: 0,
        oif: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(table) => facts.table = *table,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                facts.destination = Some((*address).into())
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                facts.destination = Some((*address).into())
            }
            RouteAttribute::Priority(metric) => facts.metric = *metric,
            RouteAttribute::Oif(index) => facts.oif = Some(*index),
            RouteAttribute::MultiPath(hops) => {
                facts.oif = hops.first().map(|hop| hop.interface_index)
            }
            _ => {}
        }
    }
    facts
}

fn decode(
    family: Family,
    message: &RouteMessage,
    names: &BTreeMap<u32, String>,
) -> Option<KernelRoute> {
    let facts = facts(message);
    let destination = match facts.destination {
        Some(address) => {
            Prefix::from(IpNet::new(address, message.header.destination_prefix_length).ok()?)
        }
        None => family.everything(),
    };
    let kind = match message.header.kind {
        RouteType::Unicast => RouteKind::Device(names.get(&facts.oif?)?.parse().ok()?),
        RouteType::Unreachable => RouteKind::Unreachable,
        _ => return None,
    };
    Some(KernelRoute {
        table: facts.table,
        destination,
        metric: facts.metric,
        kind,
    })
}

async fn encode(rtnl: &Rtnl, route: &KernelRoute) -> Result<RouteMessage, HostCause> {
    let mut message = RouteMessage::default();
    let net = route.destination.net();
    message.header.address_family = address_family(Family::of_prefix(&route.destination));
    message.header.destination_prefix_length = net.prefix_len();
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.attributes.push(RouteAttribute::Table(route.table));
    message
        .attributes
        .push(RouteAttribute::Destination(net.addr().into()));
    message
        .attributes
        .push(RouteAttribute::Priority(route.metric));
    match &route.kind {
        RouteKind::Device(device) => {
            message.header.kind = RouteType::Unicast;
            message.header.scope = RouteScope::Link;
            message
                .attributes
                .push(RouteAttribute::Oif(rtnl.index(device.as_str()).await?));
        }
        RouteKind::Unreachable => {
            message.header.kind = RouteType::Unreachable;
            message.header.scope = RouteScope::Universe;
        }
    }
    Ok(message)
}

async fn uplinks(rtnl: &Rtnl) -> Result<BTreeMap<char, IfName>, HostCause> {
    let names = rtnl.names().await?;
    let mut out = BTreeMap::new();
    for family in Family::BOTH {
        let best = dump(rtnl, family)
            .await?
            .iter()
            .filter(|m| {
                m.header.destination_prefix_length == 0 && m.header.kind == RouteType::Unicast
            })
            .map(facts)
            .filter(|facts| facts.table == u32::from(RouteHeader::RT_TABLE_MAIN))
            .filter_map(|facts| {
                Some((
                    facts.metric,
                    names.get(&facts.oif?)?.parse::<IfName>().ok()?,
                ))
            })
            .min_by_key(|(metric, _)| *metric);
        if let Some((_, name)) = best {
            out.insert(family.digit(), name);
        }
    }
    Ok(out)
}
