//! Bodies that a test signs itself.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use postern_intent::body::{
    Cluster, ClusterDns, DEFAULT_NODE_PORTS, EncryptedResolvers, NodeIdentity,
};
use postern_intent::{Body, Prefix, Serial};

use crate::lab::Lab;
use crate::lab::LabError;
use crate::lab::topology::{self, Node};

/// A body for a node of the lab that guards nothing: tests fill in what they are about.
///
/// # Errors
/// `NoNode`; `Invalid` when a word of it is refused.
pub fn blank_body(lab: &Lab, node: &str, serial: Serial) -> Result<Body, LabError> {
    let own = lab.node(node)?;
    let now = Timestamp::now();
    Ok(Body {
        node: NodeIdentity {
            name: word("node name", &own.name)?,
            uid: word("UID", &own.uid)?,
        },
        serial,
        cluster_serial: serial,
        issued_at: now,
        not_after: now + SignedDuration::from_hours(24),
        trace_id: None,
        guarded_namespaces: BTreeSet::new(),
        cluster: cluster(&lab.state()?.nodes)?,
        local_pod_ranges: words(topology::pair(own.pods4(), own.pods6()))?,
        local_addresses: own.addresses().into(),
        tunnels: Vec::new(),
        routes: Vec::new(),
        nat: Vec::new(),
        external: Vec::new(),
        firewall: Vec::new(),
        allocations: Vec::new(),
        pods: Vec::new(),
        isolation: None,
    })
}

fn words(ranges: [ipnet::IpNet; 2]) -> Result<Vec<Prefix>, LabError> {
    ranges
        .iter()
        .map(|range| word("range", &range.to_string()))
        .collect()
}

fn cluster(nodes: &[Node]) -> Result<Cluster, LabError> {
    Ok(Cluster {
        pod_ranges: words(topology::pair(topology::PODS4, topology::PODS6))?,
        service_ranges: words(topology::pair(topology::SERVICES4, topology::SERVICES6))?,
        node_addresses: nodes.iter().flat_map(Node::addresses).collect(),
        service_addresses: BTreeSet::new(),
        node_ports: vec![DEFAULT_NODE_PORTS],
        node_services: BTreeSet::new(),
        api_servers: BTreeSet::new(),
        tunnel_ranges: Vec::new(),
        tunnel_endpoints: BTreeSet::new(),
        dns: ClusterDns {
            domain: "cluster.local".to_owned(),
            addresses: vec![topology::DNS4.into(), topology::DNS6.into()],
        },
        encrypted_resolvers: EncryptedResolvers::default(),
    })
}

fn word<T>(what: &'static str, text: &str) -> Result<T, LabError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|why: T::Err| LabError::Invalid {
        what,
        value: text.to_owned(),
        why: why.to_string(),
    })
}
