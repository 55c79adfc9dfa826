//! The exits that a policy names, one after the other.

use std::collections::BTreeMap;

use postern_crds::conditions::{ConditionStatus, ConditionType, find};
use postern_crds::{EgressPolicy, ExitNode};
use serde::Serialize;

/// An exit that a policy names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedExit {
    pub name: String,
    /// Whether the policy's pods leave there now, as its status says.
    pub in_use: bool,
    /// Whether traffic can leave there: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Why not, or why that is not known.
    pub message: String,
}

impl NamedExit {
    /// The exits of a policy, the preferred one first.
    pub(super) fn all(
        policy: &EgressPolicy,
        exits: &BTreeMap<String, Option<ExitNode>>,
    ) -> Vec<Self> {
        let used = policy.status.as_ref();
        let used = used.and_then(|status| status.exit_node.as_deref());
        let named = policy.spec.route.exit_nodes.iter();
        named
            .map(|exit| {
                let (ready, message) = conditions_of(exits.get(&exit.name));
                Self {
                    name: exit.name.clone(),
                    in_use: used == Some(exit.name.as_str()),
                    ready,
                    message,
                }
            })
            .collect()
    }

    pub(super) const HEADER: [&'static str; 4] = ["EXIT", "IN USE", "READY", "MESSAGE"];

    pub(super) fn row(&self) -> Vec<String> {
        let in_use = if self.in_use { "yes" } else { "no" };
        vec![
            self.name.clone(),
            in_use.to_owned(),
            self.ready.clone(),
            self.message.clone(),
        ]
    }
}

fn conditions_of(exit: Option<&Option<ExitNode>>) -> (String, String) {
    let unknown = |message: &str| {
        (
            ConditionStatus::Unknown.as_str().to_owned(),
            message.to_owned(),
        )
    };
    let exit = match exit {
        None => return unknown("it could not be read"),
        Some(None) => {
            let ready = ConditionStatus::False.as_str().to_owned();
            return (ready, "there is no such ExitNode".to_owned());
        }
        Some(Some(exit)) => exit,
    };
    let conditions = exit.status.as_ref().map(|status| &status.conditions[..]);
    match find(conditions.unwrap_or_default(), ConditionType::Ready) {
        Some(found) => (
            found.status.clone(),
            format!("{}: {}", found.reason, found.message),
        ),
        None => unknown("no operator has looked at it yet"),
    }
}
