//! Links of the kernel's WireGuard, made and removed.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use postern_host::error::{HostCause, errno};

use crate::rtnl::Rtnl;

pub(crate) async fn add_wireguard(rtnl: &Rtnl, name: &str) -> Result<(), HostCause> {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
            InfoKind::Wireguard,
        )]));
    rtnl.act(
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    )
    .await
    .map(drop)
}

pub(crate) async fn remove(rtnl: &Rtnl, name: &str) -> Result<(), HostCause> {
    let mut message = LinkMessage::default();
    message.header.index = rtnl.index(name).await?;
    rtnl.act(RouteNetlinkMessage::DelLink(message), 0)
        .await
        .map(drop)
}

/// Can the kernel make WireGuard devices? Asked by making one under a name that no agent uses, and removing it.
pub(crate) async fn has_wireguard(rtnl: &Rtnl) -> Result<bool, HostCause> {
    const PROBE: &str = "pst-probe";
    match add_wireguard(rtnl, PROBE).await {
        Ok(()) => remove(rtnl, PROBE).await.map(|()| true),
        Err(HostCause::Errno {
            errno: errno::EOPNOTSUPP,
        }) => Ok(false),
        // A probe that was interrupted before it was removed.
        Err(HostCause::Errno {
            errno: errno::EEXIST,
        }) => remove(rtnl, PROBE).await.map(|()| true),
        Err(cause) => Err(cause),
    }
}
