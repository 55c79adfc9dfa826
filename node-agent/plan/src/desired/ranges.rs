//! Special-use and private ranges, and sums over ranges.

use ipnet::IpNet;
use postern_intent::Prefix;
use postern_intent::special_use::{PRIVATE4, PRIVATE6, SPECIAL4, SPECIAL6, embedding};

use crate::host::Family;

/// Is the address one of the world's: neither of special use nor private?
#[must_use]
pub fn is_public(address: &postern_intent::Address) -> bool {
    let family = Family::of(address);
    let mut ranges = special_ranges(family).into_iter().chain(lan_ranges(family));
    !ranges.any(|range| range.contains(address))
}

/// The prefixes of one family.
pub(super) fn of_family(prefixes: &[Prefix], family: Family) -> Vec<Prefix> {
    prefixes
        .iter()
        .copied()
        .filter(|prefix| Family::of_prefix(prefix) == family)
        .collect()
}

/// Disjoint prefixes: an interval set refuses overlapping ones (`Error: conflicting intervals specified`).
pub(super) fn aggregate(prefixes: &[Prefix]) -> Vec<Prefix> {
    let nets: Vec<IpNet> = prefixes.iter().map(Prefix::net).collect();
    IpNet::aggregate(&nets)
        .into_iter()
        .map(Prefix::from)
        .collect()
}

/// The private ranges of a family.
pub(super) fn private_ranges(family: Family) -> Vec<Prefix> {
    match family {
        Family::V4 => prefixes(&PRIVATE4),
        Family::V6 => prefixes(&PRIVATE6),
    }
}

/// The special-use ranges of a family.
pub(super) fn special_ranges(family: Family) -> Vec<Prefix> {
    match family {
        Family::V4 => prefixes(&SPECIAL4),
        Family::V6 => [prefixes(&SPECIAL6), embedding(&prefixes(&SPECIAL4))].concat(),
    }
}

/// The private ranges of a family as destinations of an exit.
pub(super) fn lan_ranges(family: Family) -> Vec<Prefix> {
    match family {
        Family::V4 => prefixes(&PRIVATE4),
        Family::V6 => [prefixes(&PRIVATE6), embedding(&prefixes(&PRIVATE4))].concat(),
    }
}

/// Parses a list of the constants above; a test proves that all of them parse.
pub(super) fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_prefix_parses() {
        for list in [&SPECIAL4[..], &SPECIAL6, &PRIVATE4, &PRIVATE6] {
            assert_eq!(prefixes(list).len(), list.len(), "{list:?}");
        }
    }
}
