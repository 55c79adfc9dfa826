//! Exits: which gateway is active, and whether traffic can leave there.

use postern_crds::ExitNode;
use postern_crds::conditions::{ConditionStatus, ConditionType};
use postern_crds::exit_node::GatewayRole;
use serde::Serialize;

use super::conditions::{Conditions, LineFinding};
use crate::cluster::ReadResult;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitLine {
    pub name: String,
    /// The node where traffic leaves now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// Whether gateway and client nodes carry what is in force for them: `True`, `False` or `Unknown`.
    pub programmed: String,
    /// Whether traffic can leave there: `True`, `False` or `Unknown`.
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
    ConditionType::SettingsAccepted,
];

impl ExitLine {
    pub(super) const HEADER: [&'static str; 5] =
        ["EXIT", "ACTIVE", "PROGRAMMED", "READY", "MESSAGE"];

    /// What an exit says of itself.
    pub(super) fn of(exit: &ReadResult<ExitNode>) -> Self {
        let exit = match exit {
            Ok(exit) => exit,
            Err(object) => {
                return Self {
                    name: object.name.clone(),
                    active: None,
                    programmed: ConditionStatus::Unknown.as_str().to_owned(),
                    ready: ConditionStatus::Unknown.as_str().to_owned(),
                    finding: Some(LineFinding::unreadable(object)),
                };
            }
        };
        let status = exit.status.clone().unwrap_or_default();
        let conditions = Conditions {
            all: &status.conditions,
            generation: exit.metadata.generation,
        };
        let active = status
            .gateways
            .iter()
            .find(|gateway| gateway.role == GatewayRole::Active);
        Self {
            name: exit.metadata.name.clone().unwrap_or_default(),
            active: active.map(|gateway| gateway.node.clone()),
            programmed: conditions.status(ConditionType::Programmed),
            ready: conditions.status(ConditionType::Ready),
            finding: LineFinding::unseen(status.observed_generation, conditions.all)
                .or_else(|| conditions.finding(&CONDITIONS)),
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.active.clone().unwrap_or_default(),
            self.programmed.clone(),
            self.ready.clone(),
            LineFinding::cell(self.finding.as_ref()),
        ]
    }
}
