//! How the tunnel ranges are split: one network of each family for each exit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postern_intent::{Address, Prefix};

/// How many bits of an IPv4 range number the exits: 64 networks, more than there are ports by default. Of the
/// default /15 each exit gets a /21, so 2045 client nodes.
const EXIT_BITS: u8 = 6;

/// The prefix length of an exit's IPv6 network, where the range leaves room.
const IPV6_LENGTH: u8 = 112;

/// The lowest host number; an IPv4 network's own address has 0.
pub(super) const FIRST_HOST: u32 = 1;

/// The split of the tunnel ranges.
pub(crate) struct Networks {
    ranges: Vec<Split>,
}

struct Split {
    range: IpNet,
    length: u8,
}

impl Networks {
    /// Splits the first range of each family.
    pub(crate) fn new(ranges: &[Prefix]) -> Self {
        let first = |v4: bool| {
            ranges
                .iter()
                .find(|range| range.is_ipv4() == v4)
                .map(Prefix::net)
        };
        let splits = [first(true), first(false)]
            .into_iter()
            .flatten()
            .map(|range| {
                let wanted = range.prefix_len().saturating_add(EXIT_BITS);
                let length = match range {
                    // A /30 has two hosts: the gateway and one client.
                    IpNet::V4(_) => wanted.min(30),
                    IpNet::V6(_) => wanted.clamp(IPV6_LENGTH, 126),
                };
                Split {
                    range,
                    length: length.max(range.prefix_len()),
                }
            });
        Self {
            ranges: splits.collect(),
        }
    }

    /// How many exits have a network in every family.
    pub(crate) fn count(&self) -> u32 {
        let of = |split: &Split| 1u32 << (split.length - split.range.prefix_len()).min(16);
        self.ranges.iter().map(of).min().unwrap_or(0)
    }

    /// The highest host number that a network of every family has.
    pub(crate) fn last_host(&self) -> u32 {
        let of = |split: &Split| {
            let bits = split.range.max_prefix_len() - split.length;
            // The last address of an IPv4 network is its broadcast address.
            (1u32 << bits.min(16)).saturating_sub(2)
        };
        self.ranges.iter().map(of).min().unwrap_or(0)
    }

    /// The networks of an exit.
    pub(crate) fn of(&self, exit: u32) -> Vec<IpNet> {
        self.ranges
            .iter()
            .filter_map(|split| split.network(exit))
            .collect()
    }

    /// The addresses of a host in the networks of an exit.
    pub(crate) fn hosts(&self, exit: u32, host: u32) -> Vec<Address> {
        self.of(exit)
            .into_iter()
            .map(|network| offset(network.network(), u128::from(host)))
            .collect()
    }
}

impl Split {
    fn network(&self, exit: u32) -> Option<IpNet> {
        let bits = self.range.max_prefix_len() - self.length;
        let base = offset(self.range.network(), u128::from(exit) << bits);
        match base {
            IpAddr::V4(base) => Ipv4Net::new(base, self.length).ok().map(IpNet::V4),
            IpAddr::V6(base) => Ipv6Net::new(base, self.length).ok().map(IpNet::V6),
        }
    }
}

fn offset(base: Address, by: u128) -> Address {
    match base {
        IpAddr::V4(base) => {
            let sum = u128::from(base.to_bits()).wrapping_add(by);
            // The range's own length bounds the sum, so nothing is cut off.
            IpAddr::V4(Ipv4Addr::from_bits(
                u32::try_from(sum & u128::from(u32::MAX)).unwrap_or_default(),
            ))
        }
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from_bits(base.to_bits().wrapping_add(by))),
    }
}

#[cfg(test)]
mod tests {
    use super::Networks;

    fn default() -> Networks {
        Networks::new(&crate::snapshot::TunnelSettings::default().ranges)
    }

    #[test]
    fn the_default_ranges_give_every_exit_a_network_of_both_families() {
        let text: Vec<String> = default().of(1).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["198.18.8.0/21", "fd50:7374:726e:198::1:0/112"]);
        assert_eq!(default().count(), 64);
    }

    #[test]
    fn a_small_range_still_has_hosts() {
        let networks = Networks::new(&["192.0.2.0/28".parse().expect("a prefix")]);
        assert_eq!(networks.count(), 4);
        assert_eq!(networks.last_host(), 2);
    }
}
