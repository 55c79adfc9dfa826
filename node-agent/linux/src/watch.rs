//! Events of the kernel, as no more than "something changed, look again": what is true now is read, never put together
//! from events, because some changes have none (the kernel drops a link's routes silently).

use std::io;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM};
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, TokioSocket};
use postern_host::error::{HostCause, HostError, Nature, errno};
use tokio::sync::mpsc;

use crate::netlink::{Message, attribute, parse};
use postern_plan::desired::names::GRANTED;
use postern_plan::ruleset::TABLE;
use postern_plan::settings::ROUTE_PROTOCOL;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelChange {
    /// A link came, went or changed. Look at the routes too: they go with it without an event.
    Link,
    /// Somebody changed tc's disciplines or filters: look for ways past netfilter.
    Path,
    /// An address came or went.
    Address,
    /// A default route or one of ours came or went.
    Route,
    /// A routing rule came or went.
    Rule,
    /// Somebody changed a table of ours; our own changes are seen too.
    Firewall,
    /// Somebody changed XFRM policies.
    Lock,
    /// Events were lost: look at everything.
    Resync,
}

/// `RTNLGRP_LINK`, `RTNLGRP_TC`, the two of `IFADDR`, of `ROUTE` and of `RULE`.
const ROUTE_GROUPS: [u32; 8] = [1, 4, 5, 9, 7, 11, 8, 19];
/// `XFRMNLGRP_POLICY`.
const XFRM_GROUPS: [u32; 1] = [4];
/// `NFNLGRP_NFTABLES`.
const NETFILTER_GROUPS: [u32; 1] = [7];
/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// Room for bursts; what does not fit is told as one [`KernelChange::Resync`] of the socket's own.
const ROOM: usize = 1024;
/// Bytes of the longest event. The agent ignores the event of each grant, so that looking for its length first would be the
/// second system call of each.
const LONGEST: usize = 64 * 1024;

/// A family of netlink that is listened to.
struct NetlinkFamily {
    name: &'static str,
    protocol: isize,
    groups: &'static [u32],
    /// What a message says to us.
    meaning: fn(&Message) -> Option<KernelChange>,
}

const FAMILIES: [NetlinkFamily; 3] = [
    NetlinkFamily {
        name: "NETLINK_ROUTE",
        protocol: NETLINK_ROUTE,
        groups: &ROUTE_GROUPS,
        meaning: of_route,
    },
    NetlinkFamily {
        name: "NETLINK_XFRM",
        protocol: NETLINK_XFRM,
        groups: &XFRM_GROUPS,
        meaning: of_xfrm,
    },
    NetlinkFamily {
        name: "NETLINK_NETFILTER",
        protocol: NETLINK_NETFILTER,
        groups: &NETFILTER_GROUPS,
        meaning: of_netfilter,
    },
];

/// Watches the namespace of the calling thread until the receiver is dropped.
///
/// # Errors
/// [`HostError::Watch`] with the family that cannot be watched.
pub fn watch() -> Result<mpsc::Receiver<KernelChange>, HostError> {
    let (sender, receiver) = mpsc::channel(ROOM);
    for NetlinkFamily {
        name: group,
        protocol,
        groups,
        meaning,
    } in FAMILIES
    {
        let watched = listen(protocol, groups).map_err(HostCause::from);
        match watched {
            Ok(socket) => drop(tokio::spawn(pass_on(socket, meaning, sender.clone()))),
            // What a kernel does not have does not change.
            Err(cause) if cause.nature() == Nature::Unsupported => {
                tracing::warn!(
                    error = &cause as &dyn std::error::Error,
                    group,
                    "not in this kernel"
                );
            }
            Err(source) => return Err(HostError::Watch { group, source }),
        }
    }
    Ok(receiver)
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    socket.socket_mut().bind_auto()?;
    for group in groups {
        socket.socket_mut().add_membership(*group)?;
    }
    Ok(socket)
}

async fn pass_on(
    socket: TokioSocket,
    meaning: fn(&Message) -> Option<KernelChange>,
    sender: mpsc::Sender<KernelChange>,
) {
    let mut datagram = Vec::with_capacity(LONGEST);
    loop {
        datagram.clear();
        let changes = tokio::select! {
            received = socket.recv_from(&mut datagram) => match received {
                Ok(_) => of_datagram(&datagram, meaning),
                Err(error) if error.raw_os_error() == Some(errno::ENOBUFS) => vec![KernelChange::Resync],
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a watch of the kernel ended");
                    let _ = sender.send(KernelChange::Resync).await;
                    return;
                }
            },
            () = sender.closed() => return,
        };
        for change in changes {
            if sender.send(change).await.is_err() {
                return;
            }
        }
    }
}

/// Changes of a datagram, each kind once.
fn of_datagram(
    datagram: &[u8],
    meaning: fn(&Message) -> Option<KernelChange>,
) -> Vec<KernelChange> {
    let mut out: Vec<KernelChange> = parse(datagram)
        .iter()
        .filter_map(|(_, message)| meaning(message))
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn of_route(message: &Message) -> Option<KernelChange> {
    match message.kind {
        16 | 17 => Some(KernelChange::Link),
        36 | 37 | 44 | 45 => Some(KernelChange::Path),
        20 if is_of_an_exit(&message.body) => None,
        20 | 21 => Some(KernelChange::Address),
        24 | 25 if is_read(&message.body) => Some(KernelChange::Route),
        32 | 33 => Some(KernelChange::Rule),
        _ => None,
    }
}

/// Is it an egress address of ours? It is prolonged every few seconds, and its task reports a new one by itself.
fn is_of_an_exit(message: &[u8]) -> bool {
    /// Length of `struct ifaddrmsg`.
    const HEADER: usize = 8;
    /// `IFA_PROTO`.
    const PROTOCOL: u16 = 11;
    let attributes = message.get(HEADER..).unwrap_or_default();
    attribute(attributes, PROTOCOL) == Some(&[ROUTE_PROTOCOL][..])
}

/// Is it a route that a reading looks at: a default route, or one of ours? Nodes that speak BGP change others all day.
fn is_read(route: &[u8]) -> bool {
    // `struct rtmsg`: family, length of the destination, of the source, type of service, table, protocol.
    let at = |offset: usize| route.get(offset).copied();
    at(1).is_none_or(|length| length == 0) || at(5) == Some(ROUTE_PROTOCOL)
}

const fn of_xfrm(_message: &Message) -> Option<KernelChange> {
    Some(KernelChange::Lock)
}

/// Every object of nft names its table in its first attribute. kube-proxy and others write theirs all day.
fn of_netfilter(message: &Message) -> Option<KernelChange> {
    const TABLE_NAME: u16 = 1;
    let attributes = message.body.get(NFGENMSG..)?;
    let name = attribute(attributes, TABLE_NAME)?;
    let is_ours = name.strip_suffix(&[0]) == Some(TABLE.as_bytes());
    (is_ours && !is_of_a_grant(message.kind, attributes)).then_some(KernelChange::Firewall)
}

/// Is it about elements of a set of grants? They come with every answer for a name, and no plan compares them; that another
/// program took some away is seen when the timer looks.
fn is_of_a_grant(kind: u16, attributes: &[u8]) -> bool {
    // `NFT_MSG_NEWSETELEM` and `NFT_MSG_DELSETELEM`, below the number of the subsystem.
    const NEW_ELEMENT: u16 = 12;
    const DELETED_ELEMENT: u16 = 14;
    // `NFTA_SET_ELEM_LIST_SET`.
    const SET_NAME: u16 = 2;
    matches!(kind & 0xff, NEW_ELEMENT | DELETED_ELEMENT)
        && attribute(attributes, SET_NAME).is_some_and(|set| set.starts_with(GRANTED.as_bytes()))
}
