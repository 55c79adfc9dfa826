//! The port, by raw netlink.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;
use postern_host::error::{Cause, HostError, errno};
use postern_host::ports::{Act, Flows, Protocol};
use postern_intent::Address;
use postern_plan::host::Family;

use super::wire;
use crate::host::LinuxHost;
use crate::netlink;

impl Flows for LinuxHost {
    async fn cut_flows(&self, addresses: &BTreeSet<Address>) -> Act<usize> {
        let mut cut = 0;
        for family in Family::BOTH {
            if addresses
                .iter()
                .any(|address| Family::of(address) == family)
            {
                cut += cut_family(family, addresses).await?;
            }
        }
        Ok(cut)
    }

    async fn original_destination(
        &self,
        protocol: Protocol,
        source: SocketAddr,
        local: SocketAddr,
    ) -> Act<Option<SocketAddr>> {
        let (from, to) = (canonical(source), canonical(local));
        // The answer's direction: from our socket to who sent the packet.
        let request = wire::by_reply(protocol.number(), to, from);
        match netlink::get(NETLINK_NETFILTER, wire::GET, &request).await {
            Ok(messages) => Ok(messages
                .iter()
                .find_map(|message| wire::original_destination(&message.body))),
            Err(Cause::Errno {
                errno: errno::ENOENT,
            }) => Ok(None),
            Err(source) => Err(HostError::FindFlow { from, to, source }),
        }
    }
}

/// A dual-stack socket shows IPv4 addresses as `::ffff:a.b.c.d`; conntrack does not.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn cut_family(family: Family, addresses: &BTreeSet<Address>) -> Act<usize> {
    let entries = netlink::dump(NETLINK_NETFILTER, wire::GET, &wire::header(family))
        .await
        .map_err(|source| HostError::ListFlows { source })?;
    let mut cut = 0;
    for entry in entries
        .iter()
        .filter(|entry| wire::touches(&entry.body, addresses))
    {
        match netlink::act(
            NETLINK_NETFILTER,
            wire::DELETE,
            0,
            &wire::deletion(family, &entry.body),
        )
        .await
        {
            Ok(()) => cut += 1,
            // It ended by itself meanwhile, or another one took its place; then it is in the next dump.
            Err(Cause::Errno {
                errno: errno::ENOENT,
            }) => {}
            Err(source) => return Err(HostError::CutFlow { source }),
        }
    }
    Ok(cut)
}
