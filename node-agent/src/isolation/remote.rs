//! By which links others reach the node. It is found anew each time, by the addresses that links have now, so that a link that was
//! renamed, or a default route that moved, changes nothing about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use postern_agent_core::isolation::RemoteUse;
use postern_host::{Host, HostError};
use postern_plan::host::{ObservedLink, TcpSession};

/// The port of SSH (RFC 4251).
const SSH_PORT: u16 = 22;

/// Links that carry a session, by name.
pub(super) async fn uses<H: Host>(
    host: &H,
    api_servers: &BTreeSet<SocketAddr>,
    links: &[ObservedLink],
) -> Result<BTreeMap<String, RemoteUse>, HostError> {
    let mut found = BTreeMap::new();
    for session in host.tcp_sessions().await? {
        if let Some((local, used)) = use_of(host, api_servers, links, session).await?
            && let Some(link) = links.iter().find(|link| has(link, local))
        {
            found.entry(link.name.clone()).or_insert(used);
        }
    }
    Ok(found)
}

/// What the session is, and the address of the node by which it goes. One between two addresses of the node goes by no uplink.
async fn use_of<H: Host>(
    host: &H,
    api_servers: &BTreeSet<SocketAddr>,
    links: &[ObservedLink],
    session: TcpSession,
) -> Result<Option<(IpAddr, RemoteUse)>, HostError> {
    let is_own =
        |address: IpAddr| address.is_loopback() || links.iter().any(|link| has(link, address));
    if is_own(session.remote.ip()) {
        return Ok(None);
    }
    if session.local.port() == SSH_PORT {
        return Ok(Some((session.local.ip(), RemoteUse::Ssh)));
    }
    // The address of a Service is at no link. Connection tracking knows who answers for it.
    let sent = match api_servers.contains(&session.remote) {
        true => session,
        false => host.as_sent(&session).await?.unwrap_or(session),
    };
    let is_api = api_servers.contains(&sent.remote) && !is_own(sent.remote.ip());
    Ok(is_api.then_some((sent.local.ip(), RemoteUse::ApiServer)))
}

/// Those that are not of the node itself.
pub(super) fn of_others(
    servers: &BTreeSet<SocketAddr>,
    links: &[ObservedLink],
) -> BTreeSet<SocketAddr> {
    let is_own = |server: &&SocketAddr| {
        server.ip().is_loopback() || links.iter().any(|link| has(link, server.ip()))
    };
    servers
        .iter()
        .filter(|server| !is_own(server))
        .copied()
        .collect()
}

fn has(link: &ObservedLink, address: IpAddr) -> bool {
    link.addresses.iter().any(|net| net.addr() == address)
}
