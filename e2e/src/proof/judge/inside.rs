//! What is inside the cluster, as the outside sees it: the one list of what no event counts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::lab::topology::{API_PORT, CONTROL4, CONTROL6, Node, PODS4, PODS6};
use crate::lab::{Cluster, LabState};
use crate::proof::monitor::Key;

pub(super) const TCP: u8 = 6;

/// The pod ranges, the addresses of the nodes, and the API server's endpoints with their port. Everything else is
/// outside: a service address that nobody translated, another host of the LAN, a multicast group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    nodes: BTreeSet<IpAddr>,
    api_servers: BTreeSet<(IpAddr, u16)>,
}

impl Inside {
    /// Of the lab as it was made.
    #[must_use]
    pub fn of(state: &LabState) -> Self {
        let endpoints = [CONTROL4.into(), CONTROL6.into()].map(|address| (address, API_PORT));
        Self {
            nodes: state.nodes.iter().flat_map(Node::addresses).collect(),
            api_servers: match state.options.cluster {
                Cluster::Standalone => BTreeSet::new(),
                Cluster::ApiServer => endpoints.into(),
            },
        }
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        let pods = match key.destination {
            IpAddr::V4(address) => PODS4.contains(&address),
            IpAddr::V6(address) => PODS6.contains(&address),
        };
        let endpoint = (key.destination, key.port);
        pods || self.nodes.contains(&key.destination)
            || (key.protocol == TCP && self.api_servers.contains(&endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::{Inside, TCP};
    use crate::proof::monitor::{Key, Kind};

    fn has(destination: &str, protocol: u8, port: u16) -> bool {
        let inside = Inside {
            nodes: ["192.168.10.11", "2001:db8:10::11"]
                .map(|address| address.parse().unwrap())
                .into(),
            api_servers: [("192.168.10.2".parse().unwrap(), 6443)].into(),
        };
        inside.has(&Key {
            node: "n1".to_owned(),
            source: "10.244.1.2".parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            port,
            kind: Kind::Plain,
        })
    }

    #[test]
    fn pods_nodes_and_the_api_servers_port_are_inside_and_nothing_else_is() {
        for own in [
            "10.244.3.7",
            "fd00:10:244:1::2",
            "192.168.10.11",
            "2001:db8:10::11",
        ] {
            assert!(has(own, 17, 9), "{own}");
        }
        assert!(has("192.168.10.2", TCP, 6443));
        assert!(!has("192.168.10.2", TCP, 22));
        assert!(!has("192.168.10.2", 17, 6443));
        for outside in [
            "10.96.0.53",
            "fd00:10:96::53",
            "203.0.113.1",
            "192.168.10.1",
            "192.168.10.3",
            "192.168.10.255",
            "2001:db8:10::1",
            "224.0.0.1",
            "ff02::1",
            "fe80::1",
        ] {
            assert!(!has(outside, TCP, 80), "{outside}");
        }
    }
}
