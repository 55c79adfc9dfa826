//! Nodes, pods, services and namespaces.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::{Address, NodeName, PodName, Prefix};

use super::error::{IntakeError, Reader};
use crate::snapshot::{
    NodeScheduling, PodNetwork, SnapshotNamespace, SnapshotNode, SnapshotPod, SnapshotService,
};

/// Takes in a node.
///
/// # Errors
/// [`IntakeError`] if it has no usable name or UID, or a pod range that is none, or the name that is kept for the cluster
/// document.
pub fn node(object: &v1::Node) -> Result<SnapshotNode, IntakeError> {
    let reader = Reader::new("Node", &object.metadata);
    let name: NodeName = reader.name()?;
    if name.as_str() == CLUSTER_INTENT {
        return Err(IntakeError::ReservedName {
            name: name.to_string(),
        });
    }
    let spec = object.spec.as_ref();
    let many = spec
        .and_then(|spec| spec.pod_cidrs.clone())
        .unwrap_or_default();
    let one = spec.and_then(|spec| spec.pod_cidr.clone());
    let written = if many.is_empty() {
        one.into_iter().collect()
    } else {
        many
    };
    let pod_ranges = written
        .iter()
        .map(|text| reader.parse::<Prefix>(text))
        .collect::<Result<_, _>>()?;
    Ok(SnapshotNode {
        name,
        uid: reader.uid()?,
        labels: reader.labels(),
        scheduling: match spec.and_then(|spec| spec.unschedulable) {
            Some(true) => NodeScheduling::Cordoned,
            Some(false) | None => NodeScheduling::Schedulable,
        },
        addresses: node_addresses(object),
        pod_ranges,
    })
}

/// Internal addresses first, since other nodes reach a gateway by them; names are not addresses.
fn node_addresses(object: &v1::Node) -> Vec<Address> {
    let all = object
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    let of = |kind: &'static str| {
        all.clone()
            .filter(move |address| address.type_ == kind)
            .filter_map(|address| address.address.parse().ok())
    };
    let mut seen = BTreeSet::new();
    of("InternalIP")
        .chain(of("ExternalIP"))
        .filter(|address| seen.insert(*address))
        .collect()
}

/// Takes in a pod. None: it is bound to no node, or it has finished and its address may already be another pod's.
///
/// # Errors
/// [`IntakeError`] if it has no usable name, namespace, UID or node.
pub fn pod(object: &v1::Pod) -> Result<Option<SnapshotPod>, IntakeError> {
    let reader = Reader::new("Pod", &object.metadata);
    let spec = object.spec.as_ref();
    let phase = object
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let Some(node) = spec
        .and_then(|spec| spec.node_name.as_deref())
        .filter(|node| !node.is_empty())
    else {
        return Ok(None);
    };
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Ok(None);
    }
    let host = spec.and_then(|spec| spec.host_network) == Some(true);
    Ok(Some(SnapshotPod {
        namespace: reader.namespace()?,
        name: reader.name()?,
        uid: reader.uid()?,
        node: reader.parse(node)?,
        labels: reader.labels(),
        attachment: if host {
            PodNetwork::Host
        } else {
            PodNetwork::Own
        },
        addresses: pod_addresses(object),
        lifecycle: reader.lifecycle(),
    }))
}

fn pod_addresses(object: &v1::Pod) -> BTreeSet<Address> {
    let Some(status) = &object.status else {
        return BTreeSet::new();
    };
    let many = status
        .pod_ips
        .iter()
        .flatten()
        .map(|entry| entry.ip.as_str());
    many.chain(status.pod_ip.as_deref())
        .filter_map(|text| text.parse().ok())
        .collect()
}

/// Takes in a service. None: the outside reaches it by no address of its own.
///
/// # Errors
/// [`IntakeError`] if it has no usable name or namespace.
pub fn service(object: &v1::Service) -> Result<Option<SnapshotService>, IntakeError> {
    let reader = Reader::new("Service", &object.metadata);
    let spec = object.spec.as_ref();
    let kind = spec.and_then(|spec| spec.type_.as_deref());
    let ingress = object
        .status
        .iter()
        .filter(|_| kind == Some("LoadBalancer"))
        .filter_map(|status| status.load_balancer.as_ref())
        .flat_map(|balancer| balancer.ingress.iter().flatten())
        .filter_map(|ingress| ingress.ip.as_deref());
    let external = spec
        .iter()
        .flat_map(|spec| spec.external_ips.iter().flatten());
    // A load balancer that is known by a name only translates to node addresses itself.
    let addresses: BTreeSet<Address> = ingress
        .chain(external.map(String::as_str))
        .filter_map(|text| text.parse().ok())
        .collect();
    let name: PodName = reader.name()?;
    let namespace = reader.namespace()?;
    let written = spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
        .map(|port| (u16::try_from(port.port), port.node_port.map(u16::try_from)));
    let (ports, node_ports): (Vec<_>, Vec<_>) = written.unzip();
    let node_ports: BTreeSet<u16> = node_ports.into_iter().flatten().flatten().collect();
    let is_reached = !addresses.is_empty() || !node_ports.is_empty();
    Ok(is_reached.then(|| SnapshotService {
        namespace,
        name: name.into(),
        addresses,
        ports: ports.into_iter().flatten().collect(),
        node_ports,
    }))
}

/// Takes in a namespace.
///
/// # Errors
/// [`IntakeError`] if it has no usable name.
pub fn namespace(object: &v1::Namespace) -> Result<SnapshotNamespace, IntakeError> {
    let reader = Reader::new("Namespace", &object.metadata);
    Ok(SnapshotNamespace {
        name: reader.name()?,
        labels: reader.labels(),
        lifecycle: reader.lifecycle(),
    })
}
