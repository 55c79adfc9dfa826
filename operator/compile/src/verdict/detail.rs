//! The verdict on one resource, as values that serialize themselves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_crds::cluster_egress_policy::{GovernedPods, NamespaceCounts};
use postern_crds::conditions::Finding;
use postern_crds::egress_policy::NodeCounts;
use postern_crds::exit_node::GatewayRole;
use postern_crds::interface_isolation::IsolationCounts;
use postern_intent::body::BlockedReason;
use postern_intent::{Address, ExitName, Serial};
use serde::{Serialize, Serializer};

use crate::assign::PolicyPodCounts;

/// The verdict on one resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `ExitNode`, `EgressPolicy`, `ClusterEgressPolicy`, `InterfaceIsolation` or `Node`.
    pub kind: &'static str,
    /// Its namespace, if its kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    /// The generation that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    #[serde(serialize_with = "conditions")]
    pub conditions: Vec<Finding>,
    pub detail: Detail,
}

/// What is counted about a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    Policy {
        /// The exit that its pods are to leave by; none: no exit that it names can be used.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit: Option<ExitName>,
        pods: PolicyPodCounts,
        nodes: NodeCounts,
    },
    Exit {
        /// Its gateways, the active one first.
        gateways: Vec<GatewayLine>,
        clients: ExitClientCounts,
    },
    ClusterPolicy {
        namespaces: NamespaceCounts,
        pods: GovernedPods,
        nodes: NodeCounts,
    },
    Isolation {
        nodes: IsolationCounts,
    },
    Node {
        /// Scopes that are blocked there.
        blocked: BTreeMap<String, BlockedReason>,
        /// What the node says of itself, while that counts.
        #[serde(serialize_with = "conditions", skip_serializing_if = "Vec::is_empty")]
        reported: Vec<Finding>,
        /// The serial that it has applied, as it reports.
        #[serde(skip)]
        applied: Option<Serial>,
        /// The serial that is in force for it, and when that was issued; none: nothing is published.
        #[serde(skip)]
        published: Option<(Serial, Timestamp)>,
    },
}

/// Client nodes of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitClientCounts {
    /// How far they are.
    #[serde(flatten)]
    pub nodes: NodeCounts,
    /// Those whose guard is in place, as they report.
    pub sealed: u32,
}

/// A gateway of an exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayLine {
    pub node: String,
    /// Whether it is in use.
    pub role: GatewayRole,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// MTU of its tunnels in bytes, as it reads it back; none while it does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Source addresses that are in force there, as it reports; empty while it does not, and where traffic takes the
    /// address of the uplink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Address>,
    /// Whether it carries what is in force for it, as it reports.
    pub healthy: bool,
}

#[derive(Serialize)]
struct ConditionLine<'a> {
    r#type: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

fn conditions<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(|finding| ConditionLine {
        r#type: finding.kind.as_str(),
        status: finding.state.as_str(),
        reason: finding.reason.as_str(),
        message: &finding.message,
    }))
}
