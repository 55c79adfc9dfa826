//! The port, by raw netlink.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{Flows, HostResult, TransportProtocol};
use postern_intent::Address;
use postern_plan::FlowCut;
use postern_plan::host::Family;

use super::wire;
use crate::host::LinuxHost;
use crate::netlink::{self, Message};

impl Flows for LinuxHost {
    async fn cut_flows(&self, cut: &FlowCut) -> HostResult<usize> {
        let mut count = 0;
        let mut failed: Option<(BTreeSet<Address>, HostCause)> = None;
        for family in Family::BOTH {
            let addresses = cut.addresses.keys().copied();
            let own: BTreeSet<Address> =
                addresses.filter(|one| Family::of(one) == family).collect();
            let (done, left) = cut_family(family, &own, cut).await;
            count += done;
            for (uncut, source) in left {
                let (all, _) = failed.get_or_insert((BTreeSet::new(), source));
                all.extend(uncut);
            }
        }
        match failed {
            None => Ok(count),
            Some((uncut, source)) => Err(HostError::CutFlows { uncut, source }),
        }
    }

    async fn original_destination(
        &self,
        protocol: TransportProtocol,
        source: SocketAddr,
        local: SocketAddr,
    ) -> HostResult<Option<SocketAddr>> {
        let (from, to) = (canonical(source), canonical(local));
        // The answer's direction: from our socket to who sent the packet.
        let request = wire::by_reply(protocol.number(), to, from);
        match netlink::get(NETLINK_NETFILTER, wire::GET, &request).await {
            Ok(messages) => Ok(messages
                .iter()
                .find_map(|message| wire::original_destination(&message.body))),
            Err(HostCause::Errno {
                errno: errno::ENOENT,
            }) => Ok(None),
            Err(source) => Err(HostError::FindFlow { from, to, source }),
        }
    }
}

/// Who answers what was sent from one socket to another, and to whom: source and destination of the replies. None where
/// connection tracking has no entry of it.
pub(crate) async fn answered_by(
    protocol: TransportProtocol,
    source: SocketAddr,
    destination: SocketAddr,
) -> Result<Option<(SocketAddr, SocketAddr)>, HostCause> {
    let ends = (canonical(source), canonical(destination));
    let request = wire::by_original(protocol.number(), ends.0, ends.1);
    match netlink::get(NETLINK_NETFILTER, wire::GET, &request).await {
        Ok(messages) => {
            let mut found = messages
                .iter()
                .filter_map(|message| wire::flow(&message.body));
            Ok(found.next().map(|flow| flow.reply))
        }
        Err(HostCause::Errno {
            errno: errno::ENOENT,
        }) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// A dual-stack socket shows IPv4 addresses as `::ffff:a.b.c.d`; conntrack does not.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How many flows were cut, and whose could not be.
async fn cut_family(
    family: Family,
    own: &BTreeSet<Address>,
    cut: &FlowCut,
) -> (usize, Vec<(BTreeSet<Address>, HostCause)>) {
    let entries = match list(family, own, cut).await {
        Ok(entries) => entries,
        Err(source) => return (0, vec![(own.clone(), source)]),
    };
    let (mut count, mut left) = (0, Vec::new());
    for entry in entries {
        let request = wire::deletion(family, &entry.body);
        match netlink::act(NETLINK_NETFILTER, wire::DELETE, 0, &request).await {
            Ok(()) => count += 1,
            // It ended by itself meanwhile, or another one took its place; then it is in the next dump.
            Err(HostCause::Errno {
                errno: errno::ENOENT,
            }) => {}
            Err(source) => {
                let owners = wire::flow(&entry.body).map(|flow| cut.owners(&flow));
                left.push((owners.unwrap_or_else(|| own.clone()), source));
            }
        }
    }
    (count, left)
}

/// Up to so many addresses the kernel is asked for the entries of each one, and sends nothing else. For more it is cheaper
/// to walk its table once.
const FEW: usize = 8;

/// What the kernel is asked for.
fn requests(family: Family, own: &BTreeSet<Address>, cut: &FlowCut) -> Vec<Vec<u8>> {
    match own.len() {
        ..=FEW if cut.clients.is_empty() => own
            .iter()
            .flat_map(|address| wire::ends(family, *address))
            .collect(),
        _ => vec![wire::header(family)],
    }
}

/// The entries that the cut takes.
async fn list(
    family: Family,
    own: &BTreeSet<Address>,
    cut: &FlowCut,
) -> Result<Vec<Message>, HostCause> {
    let is_taken = |entry: &Message| wire::flow(&entry.body).is_some_and(|flow| cut.takes(&flow));
    let mut entries = Vec::new();
    for request in requests(family, own, cut) {
        let some = netlink::dump_where(NETLINK_NETFILTER, wire::GET, &request, is_taken).await?;
        entries.extend(some);
    }
    Ok(entries)
}

#[cfg(test)]
mod full_table_tests;
