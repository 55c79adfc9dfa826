//! Ports that are taken on the nodes.

use std::ops::RangeInclusive;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Service;

use postern_compile::first_names;

use super::check::{CheckResult, InstallCheck};
use super::reading::InstallReading;

/// Health and metrics of operator and agent on the loopback of each host.
const OWN_PORTS: RangeInclusive<i32> = 9851..=9854;

pub(super) fn checks(reading: &InstallReading, tunnels: &RangeInclusive<u16>) -> Vec<InstallCheck> {
    const TUNNELS: &str = "tunnel ports";
    const HEALTH: &str = "health ports";
    let ports = i32::from(*tunnels.start())..=i32::from(*tunnels.end());
    let own_namespace = reading.namespace_name.as_str();
    let tunnel_ports = InstallCheck::read(TUNNELS, &reading.services, |services| {
        InstallCheck::read(TUNNELS, &reading.daemon_sets, |sets| {
            let node_ports = services
                .iter()
                .flat_map(|service| node_ports(service, &ports));
            let host_ports = sets.iter().flat_map(|set| host_ports(set, &ports, "UDP"));
            let taken: Vec<String> = node_ports.chain(host_ports).collect();
            judge(
                TUNNELS,
                &taken,
                &format!("UDP {}-{} are free", tunnels.start(), tunnels.end()),
                "write another range as tunnels.ports into the settings before the first exit",
            )
        })
    });
    let health = InstallCheck::read(HEALTH, &reading.daemon_sets, |sets| {
        let others = sets
            .iter()
            .filter(|set| set.metadata.namespace.as_deref() != Some(own_namespace));
        let taken: Vec<String> = others
            .flat_map(|set| host_ports(set, &OWN_PORTS, "TCP"))
            .collect();
        judge(
            HEALTH,
            &taken,
            "no DaemonSet takes TCP 9851-9854 of its hosts",
            "give operator and agents other ports for health and metrics",
        )
    });
    vec![tunnel_ports, health]
}

fn judge(check: &'static str, taken: &[String], free: &str, to_do: &str) -> InstallCheck {
    if taken.is_empty() {
        return InstallCheck::passed(check, free);
    }
    InstallCheck::of(
        check,
        CheckResult::Refused,
        format!("taken: {}", first_names(taken.to_vec())),
        to_do,
    )
}

/// Its UDP ports on every node: kube-proxy takes a packet for one before the tunnel's socket sees it.
fn node_ports(service: &Service, ports: &RangeInclusive<i32>) -> Vec<String> {
    let metadata = &service.metadata;
    let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
    let spec = service.spec.clone().unwrap_or_default();
    let all = spec.ports.into_iter().flatten();
    let udp = all.filter(|port| port.protocol.as_deref() == Some("UDP"));
    udp.filter_map(|port| port.node_port)
        .filter(|port| ports.contains(port))
        .map(|port| {
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            format!("{port} by Service {namespace}/{name}")
        })
        .collect()
}

fn host_ports(set: &DaemonSet, ports: &RangeInclusive<i32>, protocol: &str) -> Vec<String> {
    let name = set.metadata.name.clone().unwrap_or_default();
    let spec = set.spec.template.spec.clone();
    let containers = spec.map(|spec| spec.containers).unwrap_or_default();
    let all = containers
        .into_iter()
        .flat_map(|one| one.ports.unwrap_or_default());
    all.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == protocol)
        .filter_map(|port| port.host_port)
        .filter(|port| ports.contains(port))
        .map(|port| format!("{port} by DaemonSet {name}"))
        .collect()
}
