//! The sections of a body, put together.

use jiff::Timestamp;
use postern_intent::body::{FORMAT_VERSION, NodeIdentity};
use postern_intent::{Body, Serial};

use super::{Context, NodePlan, Shared};
use super::{allocations, digest, firewall, nat, pods, routes, tunnels};

/// The body of a node. Serial and times are only stamped if it is published.
pub(crate) fn lower(context: &Context<'_>, plan: &NodePlan<'_>, shared: &Shared) -> Body {
    let tunnels = tunnels::lower(context, plan);
    let mut body = Body {
        version: FORMAT_VERSION,
        node: NodeIdentity {
            name: plan.node.name.clone(),
            uid: plan.node.uid.clone(),
        },
        serial: Serial(0),
        issued_at: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::UNIX_EPOCH,
        trace_id: None,
        guarded_namespaces: shared.guarded_namespaces.clone(),
        cluster: shared.cluster_of(context.index, plan.node),
        allocations: allocations::lower(context, plan, &tunnels),
        tunnels,
        routes: routes::lower(context, plan),
        nat: nat::lower(context, plan.node),
        firewall: firewall::lower(context, plan),
        pods: pods::lower(plan),
        isolation: None,
    };
    digest::stamp(&mut body);
    body
}
