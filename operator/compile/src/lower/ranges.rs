//! Prefixes without other prefixes.

use ipnet::IpNet;
use postern_intent::Prefix;

/// `wanted` without everything in `excluded`, as few prefixes as possible, sorted.
pub(crate) fn without(wanted: &[Prefix], excluded: &[IpNet]) -> Vec<Prefix> {
    let wanted: Vec<IpNet> = wanted.iter().map(Prefix::net).collect();
    let mut kept = Vec::new();
    for net in IpNet::aggregate(&wanted) {
        cut(net, excluded, &mut kept);
    }
    let mut prefixes: Vec<Prefix> = kept.into_iter().map(Prefix::from).collect();
    prefixes.sort();
    prefixes
}

fn cut(net: IpNet, excluded: &[IpNet], kept: &mut Vec<IpNet>) {
    let touching: Vec<IpNet> = excluded
        .iter()
        .copied()
        .filter(|other| net.contains(other) || other.contains(&net))
        .collect();
    if touching.is_empty() {
        kept.push(net);
        return;
    }
    if touching.iter().any(|other| other.contains(&net)) {
        return;
    }
    let halves = net.subnets(net.prefix_len() + 1).into_iter().flatten();
    for half in halves {
        cut(half, &touching, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::without;

    fn text(wanted: &[&str], excluded: &[&str]) -> Vec<String> {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|net| net.parse().expect("a prefix"))
            .collect();
        let excluded: Vec<_> = excluded
            .iter()
            .map(|net| net.parse().expect("a net"))
            .collect();
        without(&wanted, &excluded)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_overlaps_with_nothing_stays_whole() {
        assert_eq!(
            text(&["198.51.100.0/24"], &["10.0.0.0/8", "fd00::/8"]),
            ["198.51.100.0/24"]
        );
    }

    #[test]
    fn what_lies_inside_an_excluded_range_is_gone() {
        assert!(text(&["10.1.0.0/16"], &["10.0.0.0/8"]).is_empty());
    }

    #[test]
    fn a_hole_leaves_what_is_around_it() {
        assert_eq!(
            text(&["10.0.0.0/8"], &["10.128.0.0/10"]),
            ["10.0.0.0/9", "10.192.0.0/10"],
        );
    }

    #[test]
    fn one_address_can_be_taken_out_of_everything() {
        assert_eq!(text(&["0.0.0.0/0"], &["203.0.113.7/32"]).len(), 32);
    }
}
