//! Rules of administrators: whom they are asked for, and whether they are in force.

use postern_crds::ClusterEgressPolicy;
use postern_crds::cluster_egress_policy::{GovernedPods, Tier};
use postern_crds::conditions::ConditionType;
use serde::Serialize;

use super::conditions::{Conditions, LineFinding};
use crate::cluster::{ReadResult, UnreadableObject};
use crate::output::json_name;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TierLine {
    /// When its rules are asked; none: the object cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Which policy of the tier is asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    pub name: String,
    /// Whether its rules are taken: `True`, `False` or `Unknown`.
    pub accepted: String,
    pub pods: GovernedPods,
    /// Whether every node concerned carries this generation: `True`, `False` or `Unknown`.
    pub programmed: String,
    /// Why not everything is as asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<LineFinding>,
}

const CONDITIONS: [ConditionType; 3] = [
    ConditionType::Accepted,
    ConditionType::Programmed,
    ConditionType::FullyEnforced,
];

impl TierLine {
    pub(super) const HEADER: [&'static str; 10] = [
        "TIER",
        "PRIORITY",
        "CLUSTER POLICY",
        "PODS",
        "GOVERNED",
        "UNGOVERNED",
        "BLOCKED",
        "ACCEPTED",
        "PROGRAMMED",
        "MESSAGE",
    ];

    /// All of them in the order in which their rules are asked.
    pub(super) fn all(policies: &[ReadResult<ClusterEgressPolicy>]) -> Vec<Self> {
        let mut lines: Vec<Self> = policies.iter().map(Self::of).collect();
        lines.sort_by(|a, b| (a.tier, a.priority, &a.name).cmp(&(b.tier, b.priority, &b.name)));
        lines
    }

    /// The line of one policy, by its own status.
    fn of(policy: &ReadResult<ClusterEgressPolicy>) -> Self {
        let policy = match policy {
            Ok(policy) => policy,
            Err(object) => return Self::unreadable(object),
        };
        let status = policy.status.clone().unwrap_or_default();
        let conditions = Conditions {
            all: &status.conditions,
            generation: policy.metadata.generation,
        };
        Self {
            tier: Some(policy.spec.tier),
            priority: Some(policy.spec.priority),
            name: policy.metadata.name.clone().unwrap_or_default(),
            accepted: conditions.status(ConditionType::Accepted),
            pods: status.pods.unwrap_or_default(),
            programmed: conditions.status(ConditionType::Programmed),
            finding: LineFinding::unseen(status.observed_generation, conditions.all)
                .or_else(|| conditions.finding(&CONDITIONS)),
        }
    }

    fn unreadable(object: &UnreadableObject) -> Self {
        let nobody = Conditions {
            all: &[],
            generation: None,
        };
        Self {
            tier: None,
            priority: None,
            name: object.name.clone(),
            accepted: nobody.status(ConditionType::Accepted),
            pods: GovernedPods::default(),
            programmed: nobody.status(ConditionType::Programmed),
            finding: Some(LineFinding::unreadable(object)),
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        let priority = self.priority.map(|priority| priority.to_string());
        vec![
            self.tier.map_or_else(String::new, json_name),
            priority.unwrap_or_default(),
            self.name.clone(),
            self.pods.selected.to_string(),
            self.pods.governed.to_string(),
            self.pods.ungoverned.to_string(),
            self.pods.blocked.to_string(),
            self.accepted.clone(),
            self.programmed.clone(),
            LineFinding::cell(self.finding.as_ref()),
        ]
    }
}
