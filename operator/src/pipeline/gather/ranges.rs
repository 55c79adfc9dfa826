//! The cluster's ranges: what the API server shows joined with what the administrator wrote. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use postern_compile::snapshot::{CompilerSettings, SnapshotNode};
use postern_intent::{Address, Prefix};

/// What the API server shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundRanges {
    /// Whether some node says where its pods' addresses come from.
    pub pods: PodRanges,
    /// Ranges of the ServiceCIDR objects.
    pub services: BTreeSet<Prefix>,
    /// Endpoints of the Service `kubernetes`.
    pub endpoints: BTreeSet<SocketAddr>,
    /// Addresses of the Service `kube-dns`.
    pub dns: BTreeSet<Address>,
}

/// Do nodes say where their pods' addresses come from?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PodRanges {
    #[default]
    Unsaid,
    /// At least one does; the compiler gathers them.
    Said,
}

/// A range without which addresses inside the cluster cannot be distinguished from those outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnknownRange {
    Pods,
    Services,
    ApiServers,
}

impl UnknownRange {
    /// What is missing, and where to write it.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Pods => "no node has a pod range; write podRanges in the settings",
            Self::Services => "there is no ServiceCIDR; write serviceRanges in the settings",
            Self::ApiServers => {
                "the Service kubernetes has no endpoints; write apiServers in the settings"
            }
        }
    }
}

#[must_use]
pub fn found<'a>(
    nodes: &[SnapshotNode],
    service_ranges: impl Iterator<Item = &'a ServiceCIDR>,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    services: impl Iterator<Item = &'a Service>,
) -> FoundRanges {
    FoundRanges {
        pods: if nodes.iter().any(|node| !node.pod_ranges.is_empty()) {
            PodRanges::Said
        } else {
            PodRanges::Unsaid
        },
        services: service_ranges
            .filter_map(|object| object.spec.as_ref())
            .flat_map(|spec| spec.cidrs.iter().flatten())
            .filter_map(|text| text.parse().ok())
            .collect(),
        endpoints: slices.flat_map(endpoints).collect(),
        dns: services
            .filter(|service| {
                service.metadata.namespace.as_deref() == Some("kube-system")
                    && service.metadata.name.as_deref() == Some("kube-dns")
            })
            .flat_map(cluster_addresses)
            .collect(),
    }
}

fn endpoints(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let ports: Vec<u16> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| u16::try_from(port.port?).ok())
        .collect();
    let addresses = slice
        .endpoints
        .iter()
        .flatten()
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|text| text.parse::<IpAddr>().ok());
    addresses
        .flat_map(|address| {
            ports
                .iter()
                .map(move |port| SocketAddr::new(address, *port))
        })
        .collect()
}

fn cluster_addresses(service: &Service) -> Vec<Address> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let many = spec.cluster_ips.iter().flatten();
    many.chain(spec.cluster_ip.as_ref())
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// Joins what was found with the settings, and says what neither knows.
#[must_use]
pub fn join(
    settings: &CompilerSettings,
    found: &FoundRanges,
) -> (CompilerSettings, Vec<UnknownRange>) {
    let mut joined = settings.clone();
    let services: BTreeSet<Prefix> = joined
        .service_ranges
        .iter()
        .chain(&found.services)
        .copied()
        .collect();
    joined.service_ranges = services.into_iter().collect();
    joined.api_servers.extend(&found.endpoints);
    for address in &found.dns {
        if !joined.dns.addresses.contains(address) {
            joined.dns.addresses.push(*address);
        }
    }
    let known = [
        (
            UnknownRange::Pods,
            found.pods == PodRanges::Said || !joined.pod_ranges.is_empty(),
        ),
        (UnknownRange::Services, !joined.service_ranges.is_empty()),
        (UnknownRange::ApiServers, !joined.api_servers.is_empty()),
    ];
    let unknown = known
        .into_iter()
        .filter(|(_, known)| !known)
        .map(|(range, _)| range)
        .collect();
    (joined, unknown)
}

#[cfg(test)]
mod tests {
    use postern_compile::intake;
    use postern_compile::snapshot::CompilerSettings;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::{UnknownRange, found, join};

    fn read<K: DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn ranges_are_found_in_objects_and_joined_with_the_settings() {
        let node = read(json!({
            "metadata": {"name": "n1", "uid": "u1"}, "spec": {"podCIDRs": ["10.1.0.0/24"]},
        }));
        let nodes = [intake::node(&node).expect("a node")];
        let range = read(json!({
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]},
        }));
        let slice = read(json!({
            "metadata": {"name": "kubernetes", "namespace": "default"}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"]}, {"addresses": ["192.0.2.2"]}],
            "ports": [{"port": 6443}],
        }));
        let dns = read(json!({
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00:96::a"]},
        }));
        let other = read(json!({
            "metadata": {"name": "kube-dns", "namespace": "shop"}, "spec": {"clusterIP": "10.96.9.9"},
        }));
        let found = found(
            &nodes,
            [&range].into_iter(),
            [&slice].into_iter(),
            [&dns, &other].into_iter(),
        );
        let settings = CompilerSettings {
            service_ranges: vec!["10.97.0.0/16".parse().expect("a prefix")],
            ..CompilerSettings::default()
        };
        let (joined, unknown) = join(&settings, &found);
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(joined.service_ranges.len(), 3);
        assert_eq!(
            (joined.api_servers.len(), joined.dns.addresses.len()),
            (2, 2)
        );
    }

    #[test]
    fn what_neither_knows_is_named() {
        let nothing = found(&[], [].into_iter(), [].into_iter(), [].into_iter());
        let (_, unknown) = join(&CompilerSettings::default(), &nothing);
        assert_eq!(
            unknown,
            [
                UnknownRange::Pods,
                UnknownRange::Services,
                UnknownRange::ApiServers
            ]
        );
        let settings = CompilerSettings {
            pod_ranges: vec!["10.1.0.0/16".parse().expect("a prefix")],
            api_servers: ["192.0.2.1:6443".parse().expect("an endpoint")].into(),
            ..CompilerSettings::default()
        };
        assert_eq!(join(&settings, &nothing).1, [UnknownRange::Services]);
    }
}
