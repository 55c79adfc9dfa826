//! The sections of a node's document, put together.

use jiff::Timestamp;
use postern_intent::body::{FORMAT_VERSION, NodeIdentity};
use postern_intent::{NodeDocument, Serial};

use super::{LoweringContext, NodePlan};
use super::{allocations, cluster, digest, external, firewall, nat, pods, routes, tunnels};

/// The document of a node. Serial and times are only stamped if it is published.
pub(crate) fn lower(context: &LoweringContext<'_>, plan: &NodePlan<'_>) -> NodeDocument {
    let tunnels = tunnels::lower(context, plan);
    let mut document = NodeDocument {
        version: FORMAT_VERSION,
        node: NodeIdentity {
            name: plan.node.name.clone(),
            uid: plan.node.uid.clone(),
        },
        serial: Serial(0),
        cluster_serial: Serial(0),
        issued_at: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::UNIX_EPOCH,
        trace_id: None,
        local_pod_ranges: cluster::merged(plan.node.pod_ranges.iter()),
        local_addresses: context.index.addresses(plan.node).collect(),
        allocations: allocations::lower(context, plan, &tunnels),
        tunnels,
        routes: routes::lower(context, plan),
        nat: nat::lower(context, plan.node),
        external: external::lower(context, plan),
        firewall: firewall::lower(context, plan),
        pods: pods::lower(plan),
        isolation: context
            .isolations
            .by_node
            .get(&plan.node.name)
            .map(|isolation| (*isolation).clone()),
    };
    digest::stamp(&mut document);
    document
}
