//! The node's own resolvers.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use postern_plan::desired::dns::DnsEntry;
use postern_plan::desired::is_public;

/// The resolvers that are asked where neither a policy nor its pod names one, in the order of preference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeResolvers {
    /// Through an exit: an address that is private to the node's network means something else at a gateway elsewhere.
    pub by_exit: Vec<SocketAddr>,
    /// By the node's uplink, to which the forwarder's sockets are bound. Clouds have theirs at private addresses and in
    /// 169.254.169.0/24. Another link-local address is on the node itself, as that of a node-local cache, and cannot be reached so.
    pub by_uplink: Vec<SocketAddr>,
}

impl NodeResolvers {
    /// Those of a setting, which are asked either way.
    #[must_use]
    pub fn set(resolvers: Vec<SocketAddr>) -> Self {
        Self {
            by_exit: resolvers.clone(),
            by_uplink: resolvers,
        }
    }

    /// Those of a file of the form of resolv.conf(5). A file that cannot be read names none.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::split_whitespace);
        let named = lines.filter_map(|mut words| match words.next() {
            Some("nameserver") => words.next()?.parse::<IpAddr>().ok(),
            _ => None,
        });
        let is_elsewhere = |address: &IpAddr| match address {
            IpAddr::V4(four) if four.is_link_local() => four.octets()[..3] == [169, 254, 169],
            IpAddr::V6(six) if six.is_unicast_link_local() => false,
            _ => !address.is_loopback() && !address.is_unspecified() && !address.is_multicast(),
        };
        let named: Vec<IpAddr> = named.filter(is_elsewhere).collect();
        let public = named.iter().filter(|address| is_public(address));
        let at = |address: &IpAddr| SocketAddr::new(*address, 53);
        Self {
            by_exit: public.map(at).collect(),
            by_uplink: named.iter().map(at).collect(),
        }
    }

    /// Those that are asked for the pods of an entry.
    pub(crate) fn of(&self, entry: &DnsEntry) -> &[SocketAddr] {
        let exit = entry.exit.as_ref();
        match exit.is_some_and(|exit| exit.is_own_uplink()) {
            true => &self.by_uplink,
            false => &self.by_exit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NodeResolvers;

    #[test]
    fn resolvers_with_private_addresses_are_asked_by_the_uplink_alone() {
        let text = "# by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver 169.254.20.10\n\
            nameserver 169.254.169.253\nnameserver 9.9.9.9\nnameserver fe80::1%eth0\nnameserver 2620:fe::fe\n";
        let found = NodeResolvers::parse(text);
        let texts = |found: &[std::net::SocketAddr]| -> Vec<String> {
            found.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&found.by_exit), ["9.9.9.9:53", "[2620:fe::fe]:53"]);
        assert_eq!(
            texts(&found.by_uplink),
            [
                "10.0.0.2:53",
                "169.254.169.253:53",
                "9.9.9.9:53",
                "[2620:fe::fe]:53"
            ]
        );
    }
}
