//! What became of a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_crds::EgressPolicy;
use postern_crds::conditions::ConditionStatus;
use serde::Serialize;

use super::exits::NamedExit;
use crate::cluster::PolicyView;
use crate::output::{TableOutput, table};

/// A policy, its conditions and its exits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedPolicy {
    pub policy: String,
    /// The exits that it names, the preferred one first.
    pub exits: Vec<NamedExit>,
    /// What the operator says about it.
    pub conditions: Vec<Condition>,
    /// What of this is about an earlier generation, or why nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What could not be read.
    pub unread: Vec<String>,
    /// The rights to exits that are missing; the answer is whole without them.
    pub not_permitted: Vec<String>,
}

impl ExplainedPolicy {
    #[must_use]
    pub fn of(name: &str, view: &PolicyView) -> Self {
        let mut unread = view.exits.unread.clone();
        let (exits, conditions, note) = match &view.policy {
            Ok(policy) => {
                let status = policy.status.clone().unwrap_or_default();
                let exits = NamedExit::all(policy, &view.exits.by_name);
                (exits, status.conditions, outdated(policy))
            }
            Err(bad) => {
                unread.push(format!("the policy is not understood: {}", bad.why));
                (Vec::new(), Vec::new(), None)
            }
        };
        Self {
            policy: name.to_owned(),
            exits,
            conditions,
            note,
            unread,
            not_permitted: view.exits.not_permitted.clone(),
        }
    }
}

/// Whether the status is about another generation than the one that is there.
pub(super) fn outdated(policy: &EgressPolicy) -> Option<String> {
    let generation = policy.metadata.generation?;
    let observed = policy.status.as_ref()?.observed_generation?;
    if observed < 0 {
        return Some("no operator has looked at it yet".to_owned());
    }
    (observed < generation).then(|| {
        format!("the status is about generation {observed}; no operator has looked at generation {generation} yet")
    })
}

impl TableOutput for ExplainedPolicy {
    fn table(&self) -> String {
        let exits: Vec<_> = self.exits.iter().map(NamedExit::row).collect();
        let conditions = self.conditions.iter().map(|one| {
            vec![
                one.type_.clone(),
                one.status.clone(),
                one.reason.clone(),
                one.message.clone(),
            ]
        });
        let header = ["CONDITION", "STATUS", "REASON", "MESSAGE"];
        let mut parts = vec![table(&header, &conditions.collect::<Vec<_>>())];
        if !exits.is_empty() {
            parts.push(table(&NamedExit::HEADER, &exits));
        }
        parts.extend(self.note.clone());
        parts.extend(named("not read", &self.unread));
        parts.extend(named(NOT_PERMITTED, &self.not_permitted));
        parts.join("\n\n")
    }

    /// Whether every condition holds and everything could be read that may be read.
    fn is_well(&self) -> bool {
        let holds = |condition: &Condition| condition.status == ConditionStatus::True.as_str();
        let all_hold = !self.conditions.is_empty() && self.conditions.iter().all(holds);
        all_hold && self.note.is_none() && self.unread.is_empty()
    }
}

/// What the answer does without.
pub(super) const NOT_PERMITTED: &str = "left out, as you may not read it";

/// What is not in the answer, for people.
pub(super) fn named(heading: &str, lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| format!("{heading}:\n{}", lines.join("\n")))
}
