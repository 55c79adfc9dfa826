//! Which names are the cluster's.

use hickory_proto::rr::Name;
use ipnet::IpNet;
use postern_intent::Prefix;

/// Is the name below the cluster's domain, or the reverse name of an address in its ranges?
///
/// A reverse name of a range that is wider than the cluster's is not: it is the world's to answer.
pub(super) fn is_cluster_name(name: &Name, domain: &str, ranges: &[Prefix]) -> bool {
    is_below(name, domain) || is_reverse_of(name, ranges)
}

/// An empty or broken domain has no names below it.
fn is_below(name: &Name, domain: &str) -> bool {
    match Name::from_ascii(domain) {
        Ok(mut zone) if !domain.is_empty() && !zone.is_root() => {
            zone.set_fqdn(true);
            zone.zone_of(name)
        }
        _ => false,
    }
}

fn is_reverse_of(name: &Name, ranges: &[Prefix]) -> bool {
    match name.parse_arpa_name() {
        Ok(net) => ranges.iter().any(|range| contains(&range.net(), &net)),
        Err(_) => false,
    }
}

fn contains(range: &IpNet, net: &IpNet) -> bool {
    match (range, net) {
        (IpNet::V4(range), IpNet::V4(net)) => range.contains(net),
        (IpNet::V6(range), IpNet::V6(net)) => range.contains(net),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_the_clusters(name: &str, domain: &str) -> bool {
        let ranges = [
            "10.244.0.0/16".parse().unwrap(),
            "fd00:10:244::/56".parse().unwrap(),
        ];
        is_cluster_name(&Name::from_ascii(name).unwrap(), domain, &ranges)
    }

    #[test]
    fn names_of_the_domain_are_the_clusters_in_any_case() {
        for name in [
            "cluster.local.",
            "kubernetes.default.svc.cluster.local.",
            "A.Cluster.LOCAL.",
        ] {
            assert!(is_the_clusters(name, "cluster.local"), "{name}");
        }
        for name in [
            "example.com.",
            "local.",
            "mycluster.local.",
            "cluster.local.example.com.",
            ".",
        ] {
            assert!(!is_the_clusters(name, "cluster.local"), "{name}");
        }
    }

    #[test]
    fn an_unknown_domain_has_no_names() {
        for domain in ["", ".", "bad..domain"] {
            assert!(!is_the_clusters("example.com.", domain), "{domain:?}");
        }
    }

    #[test]
    fn reverse_names_of_the_ranges_are_the_clusters() {
        let inside = [
            "7.1.244.10.in-addr.arpa.",
            "244.10.in-addr.arpa.",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa.",
        ];
        for name in inside {
            assert!(is_the_clusters(name, "cluster.local"), "{name}");
        }
        for name in [
            "1.1.168.192.in-addr.arpa.",
            "10.in-addr.arpa.",
            "in-addr.arpa.",
            "x.10.in-addr.arpa.",
        ] {
            assert!(!is_the_clusters(name, "cluster.local"), "{name}");
        }
    }
}
