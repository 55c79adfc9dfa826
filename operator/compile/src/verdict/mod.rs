//! What is said about each resource: conditions and counts, as values. Whoever calls writes them where they belong.

mod exit;
mod isolation;
mod node;
mod policy;

use std::collections::BTreeMap;

use postern_crds::conditions::{Finding, Reason};
use postern_intent::NodeName;
use postern_intent::body::BlockedReason;
use serde::{Serialize, Serializer};

use crate::assign::PodCounts;
use crate::compile::Settled;
use crate::gate::Gate;
use crate::lower::Context;

/// What is said about one resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `ExitNode`, `EgressPolicy`, `InterfaceIsolation` or `Node`.
    pub kind: &'static str,
    /// Its namespace, if its kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The generation that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Conditions to set.
    #[serde(serialize_with = "conditions")]
    pub conditions: Vec<Finding>,
    /// What is counted.
    pub detail: Detail,
}

/// What is counted about a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    /// About a policy.
    Policy {
        /// Its pods.
        pods: PodCounts,
        /// Its nodes.
        nodes: NodeCounts,
    },
    /// About an exit.
    Exit {
        /// Its gateways, the active one first.
        gateways: Vec<GatewayLine>,
        /// Its client nodes.
        clients: NodeCounts,
    },
    /// Nothing is counted.
    Nothing {},
    /// About a node.
    Node {
        /// Scopes that are blocked there.
        blocked: BTreeMap<String, BlockedReason>,
    },
}

/// Nodes that have to carry something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes that have to.
    pub desired: u32,
    /// Nodes that do, as they report.
    pub programmed: u32,
}

/// A gateway of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayLine {
    /// The node.
    pub node: String,
    /// Whether it is in use.
    pub role: GatewayRole,
    /// Where it listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Is a gateway in use?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum GatewayRole {
    /// Traffic leaves by it.
    Active,
    /// It could take over.
    Standby,
}

/// Verdicts on every exit, policy, isolation and node, in this order and by name.
pub(crate) fn verdicts(
    context: &Context<'_>,
    gate: &Gate,
    settled: &BTreeMap<&NodeName, Settled>,
) -> Vec<Verdict> {
    let exits = context
        .index
        .exits
        .values()
        .map(|exit| exit::verdict(context, settled, exit));
    let policies = context.index.policies.values().flat_map(BTreeMap::values);
    let policies = policies.map(|policy| policy::verdict(context, gate, settled, policy));
    let nodes = settled
        .iter()
        .map(|(node, settled)| node::verdict(context, node, settled));
    let mut isolations: Vec<_> = context.index.snapshot.isolations.iter().collect();
    isolations.sort_by_key(|one| &one.name);
    let isolations = isolations.into_iter().map(isolation::verdict);
    exits
        .chain(policies)
        .chain(isolations)
        .chain(nodes)
        .collect()
}

/// Has the node applied the body that is in force for it?
fn is_programmed(context: &Context<'_>, settled: &Settled, node: &NodeName) -> bool {
    use crate::compile::NodeOutcome;
    matches!(settled.outcome, NodeOutcome::Keep)
        && context
            .index
            .reports
            .get(node)
            .and_then(|report| report.applied_serial)
            .is_some_and(|applied| applied >= settled.body.serial)
}

/// The reason of a condition for something that is blocked.
const fn reason(blocked: BlockedReason) -> Reason {
    match blocked {
        BlockedReason::NoExit => Reason::NoExit,
        BlockedReason::NoPeerKey => Reason::NoPeerKey,
        BlockedReason::NoMarkLeft => Reason::NoMarkLeft,
        BlockedReason::PolicyRefused => Reason::PolicyRefused,
        BlockedReason::NotImplemented => Reason::NotImplemented,
        BlockedReason::RefNotResolved => Reason::RefNotResolved,
        BlockedReason::NamespaceDeny => Reason::NamespaceDeny,
        BlockedReason::ReleaseHeld => Reason::ReleaseHeld,
        BlockedReason::TooLarge => Reason::TooLarge,
        BlockedReason::NoTunnel => Reason::NoTunnel,
    }
}

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

fn conditions<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(|finding| Line {
        r#type: finding.kind.as_str(),
        status: finding.state.as_str(),
        reason: finding.reason.as_str(),
        message: &finding.message,
    }))
}
