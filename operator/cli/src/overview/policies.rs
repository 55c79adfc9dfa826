//! Policies: which pods leave where, and whether they do.

use postern_crds::EgressPolicy;
use postern_crds::conditions::ConditionType;
use postern_crds::egress_policy::PodCounts;
use serde::Serialize;

use super::conditions::{Conditions, LineFinding};
use crate::cluster::ReadResult;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyLine {
    pub namespace: String,
    pub name: String,
    /// The exits that it names, the preferred one first; none where pods are to leave by the node's uplink.
    pub exits: Vec<String>,
    /// The one of them that its pods are to leave by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    pub pods: PodCounts,
    /// Whether every node concerned carries this generation: `True`, `False` or `Unknown`.
    pub programmed: String,
    /// Whether it does what it promises: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Why not everything is as asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<LineFinding>,
}

const CONDITIONS: [ConditionType; 5] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::Programmed,
    ConditionType::Ready,
    ConditionType::FullyEnforced,
];

impl PolicyLine {
    pub(super) const HEADER: [&'static str; 10] = [
        "NAMESPACE",
        "POLICY",
        "EXIT",
        "PODS",
        "ENFORCED",
        "OBSERVED",
        "BLOCKED",
        "PROGRAMMED",
        "READY",
        "MESSAGE",
    ];

    /// What a policy says of itself.
    pub(super) fn of(policy: &ReadResult<EgressPolicy>) -> Self {
        let policy = match policy {
            Ok(policy) => policy,
            Err(object) => return Self::unreadable(object),
        };
        let status = policy.status.clone().unwrap_or_default();
        let conditions = Conditions {
            all: &status.conditions,
            generation: policy.metadata.generation,
        };
        let exits = policy.spec.route.exit_nodes.iter();
        Self {
            namespace: policy.metadata.namespace.clone().unwrap_or_default(),
            name: policy.metadata.name.clone().unwrap_or_default(),
            exits: exits.map(|exit| exit.name.clone()).collect(),
            exit: status.exit_node,
            pods: status.pods.unwrap_or_default(),
            programmed: conditions.status(ConditionType::Programmed),
            ready: conditions.status(ConditionType::Ready),
            finding: LineFinding::unseen(status.observed_generation, conditions.all)
                .or_else(|| conditions.finding(&CONDITIONS)),
        }
    }

    fn unreadable(object: &crate::cluster::UnreadableObject) -> Self {
        let nobody = Conditions {
            all: &[],
            generation: None,
        };
        Self {
            namespace: object.namespace.clone().unwrap_or_default(),
            name: object.name.clone(),
            exits: Vec::new(),
            exit: None,
            pods: PodCounts::default(),
            programmed: nobody.status(ConditionType::Programmed),
            ready: nobody.status(ConditionType::Ready),
            finding: Some(LineFinding::unreadable(object)),
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.namespace.clone(),
            self.name.clone(),
            self.exit.clone().unwrap_or_default(),
            self.pods.selected.to_string(),
            self.pods.enforced.to_string(),
            self.pods.observed.to_string(),
            self.pods.blocked.to_string(),
            self.programmed.clone(),
            self.ready.clone(),
            LineFinding::cell(self.finding.as_ref()),
        ]
    }
}
