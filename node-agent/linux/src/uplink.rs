//! Links by which the host itself reaches others, and what the kernel forgets of one that goes down.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;
use postern_host::error::{HostCause, HostError, errno};
use postern_host::ports::{Addresses as _, HostResult, Links as _, TransportProtocol, Uplinks};
use postern_intent::{IfName, hex};
use postern_plan::host::{LinkConfig, TcpSession};

use crate::host::LinuxHost;
use crate::link::permanent_addresses;
use crate::netlink::{CREATE, EXCLUSIVE, Message, act, attribute, dump, u32_at};

/// `RTM_NEWROUTE`.
const NEW_ROUTE: u16 = 24;
/// `RTM_GETROUTE`.
const GET_ROUTE: u16 = 26;
/// Length of `struct rtmsg`, with the table, the protocol and the flags at these places.
const RTMSG: usize = 12;
const TABLE_AT: usize = 4;
const PROTOCOL_AT: usize = 5;
const FLAGS_AT: usize = 8;
/// `RT_TABLE_LOCAL`: the kernel fills it by itself.
const LOCAL_TABLE: u8 = 255;
/// `RTPROT_KERNEL` and `RTPROT_RA`: the kernel makes them again by itself.
const MADE_BY_KERNEL: [u8; 2] = [2, 9];
/// `RTNH_F_ONLINK`, the only flag of a route that is a wish and no observation.
const ON_LINK: u32 = 4;
/// `RTA_OIF`.
const OIF: u16 = 4;

impl Uplinks for LinuxHost {
    async fn wireless_links(&self) -> HostResult<BTreeSet<String>> {
        // No attribute of rtnetlink has it. In the sysfs of another namespace no name would match.
        let links = self.list_links().await?;
        let has_radio = |name: &str| {
            let folder = Path::new("/sys/class/net").join(name);
            folder.join("phy80211").exists() || folder.join("wireless").exists()
        };
        let names = links.into_iter().map(|link| link.name);
        Ok(names.filter(|name| has_radio(name)).collect())
    }

    async fn tcp_sessions(&self) -> HostResult<Vec<TcpSession>> {
        let mut sessions = Vec::new();
        for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            match std::fs::read_to_string(file) {
                Ok(text) => sessions.extend(text.lines().filter_map(session)),
                // A kernel without IPv6 has no such file.
                Err(error) if error.raw_os_error() == Some(errno::ENOENT) => {}
                Err(error) => {
                    return Err(HostError::ListSessions {
                        source: error.into(),
                    });
                }
            }
        }
        Ok(sessions)
    }

    async fn as_sent(&self, session: &TcpSession) -> HostResult<Option<TcpSession>> {
        let (from, to) = (session.local, session.remote);
        let found = crate::flow::answered_by(TransportProtocol::Tcp, from, to).await;
        let found = found.map_err(|source| HostError::FindFlow { from, to, source })?;
        Ok(found.map(|(remote, local)| TcpSession { local, remote }))
    }

    async fn link_config(&self, device: &IfName) -> HostResult<LinkConfig> {
        let failed = |source| HostError::ReadLinkConfig {
            link: device.clone(),
            source,
        };
        let index = self.rtnl().index(device.as_str()).await.map_err(failed)?;
        let permanent = permanent_addresses(self.rtnl(), index).await;
        let lost = |address: &IpNet| match address {
            IpNet::V4(_) => false,
            IpNet::V6(net) => !net.addr().is_unicast_link_local(),
        };
        Ok(LinkConfig {
            device: device.clone(),
            routes: routes(index).await.map_err(failed)?,
            addresses: permanent
                .map_err(failed)?
                .into_iter()
                .filter(lost)
                .collect(),
        })
    }

    async fn restore_link(&self, config: &LinkConfig) -> HostResult<()> {
        for address in &config.addresses {
            is_there(self.add_address(&config.device, *address).await)?;
        }
        let failed = |source| HostError::RestoreRoutes {
            link: config.device.clone(),
            source,
        };
        let index = self.rtnl().index(config.device.as_str()).await;
        let index = index.map_err(failed)?;
        let mut left: Vec<Vec<u8>> = config
            .routes
            .iter()
            .filter_map(|route| wanted(route, index))
            .collect();
        // A route by a gateway needs the one that leads to the gateway, wherever that stands in the list.
        let mut last = None;
        for _ in 0..2 {
            let mut again = Vec::new();
            for route in left {
                match act(NETLINK_ROUTE, NEW_ROUTE, CREATE | EXCLUSIVE, &route).await {
                    Ok(())
                    | Err(HostCause::Errno {
                        errno: errno::EEXIST,
                    }) => {}
                    Err(cause) => {
                        last = Some(cause);
                        again.push(route);
                    }
                }
            }
            left = again;
        }
        match last {
            Some(cause) if !left.is_empty() => Err(failed(cause)),
            _ => Ok(()),
        }
    }
}

fn is_there(outcome: HostResult<()>) -> HostResult<()> {
    match outcome {
        Err(error) if error.errno() == Some(errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Routes by this link, as the kernel describes them, in hex.
async fn routes(index: u32) -> Result<Vec<String>, HostCause> {
    let mut request = [0; RTMSG];
    let mut out = Vec::new();
    // `AF_INET` and `AF_INET6`.
    for family in [2, 10] {
        request[0] = family;
        let found = dump(NETLINK_ROUTE, GET_ROUTE, &request).await?;
        let found = found.iter().filter(|message| is_of(message, index));
        out.extend(found.map(|message| hex(&message.body)));
    }
    Ok(out)
}

fn is_of(message: &Message, index: u32) -> bool {
    let at = |offset: usize| message.body.get(offset).copied().unwrap_or_default();
    let attributes = message.body.get(RTMSG..).unwrap_or_default();
    message.kind == NEW_ROUTE
        && at(TABLE_AT) != LOCAL_TABLE
        && !MADE_BY_KERNEL.contains(&at(PROTOCOL_AT))
        && attribute(attributes, OIF).and_then(|oif| u32_at(oif, 0)) == Some(index)
}

/// The message that makes the route again, by the link's number of now.
fn wanted(route: &str, index: u32) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = route
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let mut body = digits?;
    let flags = u32_at(&body, FLAGS_AT)? & ON_LINK;
    body.get_mut(FLAGS_AT..RTMSG)?
        .copy_from_slice(&flags.to_ne_bytes());
    let mut at = RTMSG;
    while let Some(length) = crate::netlink::u16_at(&body, at) {
        if crate::netlink::u16_at(&body, at + 2) == Some(OIF) {
            body.get_mut(at + 4..at + 8)?
                .copy_from_slice(&index.to_ne_bytes());
        }
        at += usize::from(length).max(4).next_multiple_of(4);
    }
    Some(body)
}

/// An established connection of a line of `/proc/net/tcp` (proc(5)): addresses and ports are the second and third field,
/// the state is the fourth.
fn session(line: &str) -> Option<TcpSession> {
    const ESTABLISHED: &str = "01";
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote) = (socket(fields.next()?)?, socket(fields.next()?)?);
    (fields.next()? == ESTABLISHED).then_some(TcpSession { local, remote })
}

/// Words of 32 bits in the order of this machine, and a port.
fn socket(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<u8>> = address
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let bytes = words?;
    let address = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(four))
    } else {
        let six = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
        Ipv6Addr::from(six).to_canonical()
    };
    Some(SocketAddr::new(
        address,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::session;

    #[test]
    fn established_connections_are_read_and_listeners_are_not() {
        let line =
            "   1: 0B0AA8C0:0016 030AA8C0:D431 01 00000000:00000000 02:000 0 0 1 2 0 20 4 30 10 -1";
        let found = session(line).unwrap();
        assert_eq!(found.local.to_string(), "192.168.10.11:22");
        assert_eq!(found.remote.to_string(), "192.168.10.3:54321");
        let mapped = "   0: 0000000000000000FFFF00000B0AA8C0:0016 0000000000000000FFFF0000030AA8C0:D431 01 0 0";
        assert_eq!(session(mapped), Some(found), "IPv4 by a socket of IPv6");
        let listens = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000";
        assert_eq!(session(listens), None);
        assert_eq!(session("  sl  local_address rem_address   st"), None);
    }
}
