//! By which links others reach the node. It is found anew each time, by the addresses that links have now, so that a link that was
//! renamed, or a default route that moved, changes nothing about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use postern_agent_core::isolation::RemoteUse;
use postern_plan::host::{ObservedLink, TcpSession};

/// The port of SSH (RFC 4251).
const SSH_PORT: u16 = 22;

/// Links that carry a session, by name.
pub(super) fn uses(
    sessions: &[TcpSession],
    api_servers: &BTreeSet<SocketAddr>,
    links: &[ObservedLink],
) -> BTreeMap<String, RemoteUse> {
    let mut found = BTreeMap::new();
    for session in sessions {
        let used = if api_servers.contains(&session.remote) {
            RemoteUse::ApiServer
        } else if session.local.port() == SSH_PORT {
            RemoteUse::Ssh
        } else {
            continue;
        };
        let local = session.local.ip();
        let has = |link: &&ObservedLink| link.addresses.iter().any(|net| net.addr() == local);
        if let Some(link) = links.iter().find(has) {
            found.entry(link.name.clone()).or_insert(used);
        }
    }
    found
}
