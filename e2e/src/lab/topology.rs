//! The addresses of a lab: one LAN, its nodes, their pod ranges, the services and the world behind the LAN.
//!
//! Everything lives in namespaces, so that several labs use the same addresses side by side. The LAN is a private
//! range, so that `lanAccess` means something; the world's ranges are public ones that no rule treats specially.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The world's own address on the LAN: every node's default gateway.
pub const WORLD_LAN4: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
/// The world's own IPv6 address on the LAN.
pub const WORLD_LAN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 1);
/// The LAN that joins nodes and world.
pub const LAN4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 10, 0), 24);
/// The LAN's IPv6 prefix.
pub const LAN6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0), 64);
/// The control plane's address on the LAN, in a lab that has one.
pub const CONTROL4: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 2);
/// The control plane's IPv6 address on the LAN.
pub const CONTROL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 2);
/// The port of the API server, on the LAN and on the loopback of its namespace.
pub const API_PORT: u16 = 6443;
/// A host of the LAN that is no node: the exit's own LAN, and that of every uplink.
pub const HOST4: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 3);
/// The host's IPv6 address.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 3);
/// Who is on the LAN and no node, by the names of their ports and namespaces; the control plane not in every lab.
pub const OUTSIDERS: [&str; 3] = ["world", "host", "cp"];
/// Addresses that the world answers on; each pod gets some that no other pod uses.
pub const WORLD4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 112, 0), 20);
/// The world's IPv6 addresses.
pub const WORLD6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 0), 48);
/// All pods of the cluster.
pub const PODS4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// All IPv6 addresses of pods of the cluster.
pub const PODS6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0), 48);
/// All services of the cluster.
pub const SERVICES4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16);
/// All IPv6 addresses of services.
pub const SERVICES6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0), 112);
/// The API server's service address: the first of the range, as the API server takes it.
pub const KUBERNETES4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The cluster resolver's service address.
pub const DNS4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 53);
/// The cluster resolver's IPv6 service address.
pub const DNS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x53);
/// The label that names a gateway: its value is the node's name.
pub const GATEWAY_LABEL: &str = "postern.dev/exit";
/// World addresses below this offset are given to no pod: tests use them for destinations that are no pod's own.
pub const FIRST_OWN: u32 = 256;

/// One node of the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// `n1`, `n2`, ... or `gw-1`, `gw-2`, ...; the name of its port on the LAN too.
    pub name: String,
    /// Place in the lab, from 1; the third byte of its pod range.
    pub number: u8,
    /// Whether it carries the gateway label.
    pub gateway: bool,
    /// The UID of its Node object.
    pub uid: String,
}

/// Names of a lab's nodes in order: plain ones first, then the gateways. `nodes` counts both.
#[must_use]
pub fn node_names(nodes: u8, gateways: u8) -> Vec<(String, bool)> {
    let plain = (1..=nodes.saturating_sub(gateways)).map(|number| (format!("n{number}"), false));
    plain
        .chain((1..=gateways).map(|number| (format!("gw-{number}"), true)))
        .collect()
}

impl Node {
    /// The node's IPv4 address on the LAN.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 10, 10 + self.number)
    }

    /// The node's IPv6 address on the LAN.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        Ipv6Addr::new(
            0x2001,
            0xdb8,
            0x10,
            0,
            0,
            0,
            0,
            0x10 + u16::from(self.number),
        )
    }

    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4().into(), self.ipv6().into()]
    }

    /// The range of the node's pods: a /24.
    #[must_use]
    pub fn pods4(&self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(10, 244, self.number, 0), 24)
    }

    /// The IPv6 range of the node's pods: a /64 whose fourth group reads like the IPv4 range's third byte.
    #[must_use]
    pub fn pods6(&self) -> Ipv6Net {
        let group = u16::from_str_radix(&self.number.to_string(), 16).unwrap_or_default();
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, group, 0, 0, 0, 0), 64)
    }
}

/// The world address at this offset, in both families.
#[must_use]
pub fn world_address(offset: u32) -> (Ipv4Addr, Ipv6Addr) {
    let four = Ipv4Addr::from_bits(WORLD4.network().to_bits() + offset);
    let six = Ipv6Addr::from_bits(WORLD6.network().to_bits() + u128::from(offset));
    (four, six)
}

/// A whole range as one item of a list of ranges.
#[must_use]
pub fn pair(four: Ipv4Net, six: Ipv6Net) -> [IpNet; 2] {
    [IpNet::V4(four), IpNet::V6(six)]
}

#[cfg(test)]
mod tests {
    use super::{node_names, world_address};

    #[test]
    fn gateways_are_counted_among_the_nodes() {
        let names: Vec<String> = node_names(3, 1).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["n1", "n2", "gw-1"]);
    }

    #[test]
    fn world_addresses_of_one_offset_end_alike() {
        let (four, six) = world_address(257);
        assert_eq!(
            (four.to_string(), six.to_string()),
            ("203.0.113.1".into(), "2001:db8:aaaa::101".into())
        );
    }
}
