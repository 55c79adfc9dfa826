//! Names by number, and the addresses that they lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lab::topology::{FIRST_OWN, WORLD4, WORLD6};

/// Numbers with an IPv4 address; those above have IPv6 only, since the world's IPv4 range is short.
const FOURS: u32 = 3000;
/// From the address of a number's name to the address that no name leads to.
const OTHER: u32 = 1600;

/// The name of a number.
pub(super) struct Asked {
    pub(super) name: String,
    /// Where it leads to; none: the forwarder has to refuse it, for its name or for its address.
    pub(super) allowed: Option<IpAddr>,
}

impl Asked {
    pub(super) fn of(number: u32) -> Self {
        let (name, allowed) = match number % 10 {
            8 => (format!("n{number}.secret.world.test"), None),
            // A private address, with which an answer may lead nowhere.
            9 => {
                let [.., high, low] = number.to_be_bytes();
                (name_of(Ipv4Addr::new(10, 9, high, low).into()), None)
            }
            _ => {
                let address = named(number);
                let name = name_of(address).replace(".allowed.", ".ttl-0.allowed.");
                (name, Some(address))
            }
        };
        Self { name, allowed }
    }
}

/// The addresses that so many numbers lead to.
#[must_use]
pub fn named_addresses(count: u32) -> Vec<IpAddr> {
    (0..count)
        .filter_map(|number| Asked::of(number).allowed)
        .collect()
}

/// Where the name of a number leads to.
fn named(number: u32) -> IpAddr {
    match number {
        0..FOURS if number.is_multiple_of(2) => four(number / 2),
        _ => six(number),
    }
}

/// An address that no name leads to, of the same family as that of the number's name.
pub(super) fn other(number: u32) -> IpAddr {
    match named(number) {
        IpAddr::V4(_) => four(OTHER + number / 2),
        IpAddr::V6(_) => six((1 << 31) + number),
    }
}

/// Beyond the addresses that the lab gives to its first pods.
fn four(place: u32) -> IpAddr {
    let first = u32::from(WORLD4.network()) + 2 * FIRST_OWN;
    Ipv4Addr::from(first + place).into()
}

fn six(place: u32) -> IpAddr {
    let first = u128::from(WORLD6.network()) + (1 << 64);
    Ipv6Addr::from(first + u128::from(place)).into()
}

/// The name in the world that is this address.
#[must_use]
pub fn name_of(address: IpAddr) -> String {
    let label = match address {
        IpAddr::V4(four) => format!("a-{}", four.to_string().replace('.', "-")),
        IpAddr::V6(six) => {
            let parts = six.segments().map(|part| format!("{part:x}"));
            format!("b-{}", parts.join("-"))
        }
    };
    format!("{label}.allowed.world.test")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_names_lead_to_one_address_and_no_other_address_has_a_name() {
        let named = named_addresses(65_536);
        let all: BTreeSet<IpAddr> = named.iter().copied().collect();
        assert_eq!(all.len(), named.len());
        assert_eq!(all.iter().filter(|address| address.is_ipv4()).count(), 1200);
        let others: BTreeSet<IpAddr> = (0..65_536).map(other).collect();
        assert_eq!(others.len(), 65_536);
        assert!(others.is_disjoint(&all));
        let is_worlds = |address: &IpAddr| match address {
            IpAddr::V4(four) => WORLD4.contains(four),
            IpAddr::V6(six) => WORLD6.contains(six),
        };
        assert!(all.union(&others).all(is_worlds));
    }
}
