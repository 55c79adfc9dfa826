//! Whether the tunnels' ranges are used elsewhere.

use postern_intent::{Address, Prefix};

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::nodes::{name, ranges_of};
use super::reading::InstallReading;

/// A range of the cluster and whose it is.
struct OwnedRange {
    owner: String,
    range: Prefix,
}

pub(super) fn checks(reading: &InstallReading, tunnels: &[Prefix]) -> Vec<InstallCheck> {
    const CHECK: &str = "tunnel ranges";
    let check = InstallCheck::read(CHECK, &reading.nodes, |_| {
        InstallCheck::read(CHECK, &reading.services, |_| {
            judge(CHECK, &ranges(reading), tunnels, reading)
        })
    });
    vec![check]
}

fn judge(
    check: &'static str,
    ranges: &[OwnedRange],
    tunnels: &[Prefix],
    reading: &InstallReading,
) -> InstallCheck {
    let hits: Vec<String> = ranges
        .iter()
        .flat_map(|owned| {
            let overlapping = tunnels
                .iter()
                .filter(|tunnel| tunnel.overlaps(&owned.range));
            overlapping.map(|tunnel| format!("{tunnel} and {} of {}", owned.range, owned.owner))
        })
        .collect();
    let named = first_names(tunnels.iter().map(Prefix::to_string));
    if !hits.is_empty() {
        return InstallCheck::of(
            check,
            CheckResult::Refused,
            format!("overlap: {}", first_names(hits)),
            "write other ranges, which nothing uses, as tunnels.ranges into the settings before the first exit",
        );
    }
    if reading.service_ranges.is_err() {
        return InstallCheck::of(
            check,
            CheckResult::Warning,
            format!("{named} overlap nothing that was read; ServiceCIDR objects were not read"),
            "compare them with the API server's --service-cluster-ip-range, and with the routes of the nodes",
        );
    }
    InstallCheck::passed(
        check,
        format!("{named} overlap no range of pods, Services or nodes"),
    )
}

fn ranges(reading: &InstallReading) -> Vec<OwnedRange> {
    let nodes = reading.nodes.iter().flatten();
    let of_nodes = nodes.flat_map(|node| {
        let owner = format!("node {}", name(node));
        let status = node.status.as_ref();
        let addresses = status.and_then(|status| status.addresses.clone());
        let addresses = addresses.unwrap_or_default().into_iter();
        let addresses = addresses.filter_map(|address| address.address.parse().ok());
        let pods = ranges_of(node)
            .into_iter()
            .filter_map(|range| range.parse().ok());
        let ranges: Vec<Prefix> = addresses.map(Prefix::host).chain(pods).collect();
        ranges.into_iter().map(move |range| OwnedRange {
            owner: owner.clone(),
            range,
        })
    });
    let service_ranges = reading.service_ranges.iter().flatten();
    let of_ranges = service_ranges.flat_map(|object| {
        let spec = object.spec.as_ref();
        let ranges = spec.and_then(|spec| spec.cidrs.clone()).unwrap_or_default();
        let ranges = ranges.into_iter().filter_map(|range| range.parse().ok());
        ranges.map(|range| OwnedRange {
            owner: "the Services".to_owned(),
            range,
        })
    });
    let services = reading.services.iter().flatten();
    let of_services = services.flat_map(|service| {
        let metadata = &service.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let owner = format!(
            "Service {namespace}/{}",
            metadata.name.clone().unwrap_or_default()
        );
        let spec = service.spec.clone().unwrap_or_default();
        let addresses = spec.cluster_ips.into_iter().flatten();
        let addresses = addresses.chain(spec.external_ips.into_iter().flatten());
        let addresses: Vec<Address> = addresses.filter_map(|text| text.parse().ok()).collect();
        addresses.into_iter().map(move |address| OwnedRange {
            owner: owner.clone(),
            range: Prefix::host(address),
        })
    });
    of_nodes.chain(of_ranges).chain(of_services).collect()
}
