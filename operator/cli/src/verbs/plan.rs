//! `posternctl plan`: what a compile would change on the nodes, object by object.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use postern_compile::{NodeOutcome, compile};
use postern_intent::{Body, NodeName};
use serde::Serialize;

use super::bodies::{UNPROVED, coming, coming_cluster};
use super::inputs::InputArguments;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::keys::read_signing_keys;
use crate::output::{Format, TableOutput, render};
use crate::plan::{ObjectChange, ObjectDifference, Section, difference, objects};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: InputArguments,
    /// Only this node.
    #[arg(long)]
    node: Option<NodeName>,
    /// The signing keys (PEM, PKCS#8) of the compile. Without one the proofs of nodes' keys are not checked, and tunnels
    /// are shown that a compile with it may leave out.
    #[arg(long)]
    key: Vec<PathBuf>,
}

/// What would change, by node.
#[derive(Debug, Serialize)]
struct CompilePlan {
    nodes: BTreeMap<NodeName, NodeChanges>,
    /// In what a compile may differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeChanges {
    outcome: PlannedOutcome,
    /// The serial in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// The serial that would be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    changes: BTreeMap<Section, Vec<ObjectDifference>>,
}

/// What would become of a node's intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum PlannedOutcome {
    /// It stays.
    Keep,
    /// A new one is published.
    Publish,
    /// Nothing is published until a person approves.
    Restored,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let keys = read_signing_keys(&arguments.key)?;
    let (inputs, _) = arguments.inputs.read(None, &keys)?;
    let compilation = compile(&inputs.snapshot);
    let cluster = coming_cluster(&inputs.snapshot, &compilation);
    let wanted = |node: &NodeName| arguments.node.as_ref().is_none_or(|wanted| wanted == node);
    let nodes: BTreeMap<NodeName, NodeChanges> = compilation
        .nodes
        .iter()
        .filter(|(node, _)| wanted(node))
        .map(|(node, outcome)| {
            let previous = inputs.snapshot.previous.get(node);
            let old = inputs.snapshot.previous_cluster.as_ref().zip(previous);
            let old = old.map(|(cluster, document)| Body::of(document.clone(), cluster.clone()));
            let coming = coming(outcome, previous, cluster);
            (
                node.clone(),
                NodeChanges::new(outcome, old.as_ref(), coming.as_ref()),
            )
        })
        .collect();
    if let (Some(name), true) = (&arguments.node, nodes.is_empty()) {
        return Err(VerbError::NotFound {
            kind: "Node",
            name: name.to_string(),
        });
    }
    let waits = nodes
        .values()
        .any(|plan| plan.outcome == PlannedOutcome::Restored);
    let end = if waits || !compilation.held.is_empty() {
        VerbEnd::Findings
    } else {
        VerbEnd::Well
    };
    let mut reports = inputs.snapshot.reports.iter();
    let unchecked = keys.is_empty() && reports.any(|report| report.key.is_some());
    let note = unchecked.then_some(UNPROVED);
    Ok(VerbAnswer {
        text: render(&CompilePlan { nodes, note }, format)?,
        end,
    })
}

impl NodeChanges {
    fn new(outcome: &NodeOutcome, old: Option<&Body>, coming: Option<&Body>) -> Self {
        let changes = coming.map(|coming| {
            let old = old.map(objects).unwrap_or_default();
            difference(&old, &objects(coming))
        });
        let (outcome, to) = match outcome {
            NodeOutcome::Keep | NodeOutcome::Awaited => (PlannedOutcome::Keep, None),
            NodeOutcome::Restored => (PlannedOutcome::Restored, None),
            NodeOutcome::Publish(document) => (PlannedOutcome::Publish, Some(document.serial.0)),
        };
        Self {
            outcome,
            from: old.map(|body| body.serial.0),
            to,
            changes: changes.unwrap_or_default(),
        }
    }

    fn says(&self) -> String {
        let serial = |serial: Option<u64>| serial.map_or("none".to_owned(), |one| one.to_string());
        match self.outcome {
            PlannedOutcome::Keep if self.changes.is_empty() => "nothing changes".to_owned(),
            PlannedOutcome::Keep => "its intent stays, and the cluster document changes".to_owned(),
            PlannedOutcome::Restored => "gets nothing until a person approves".to_owned(),
            PlannedOutcome::Publish => {
                let serials = format!("serial {} -> {}", serial(self.from), serial(self.to));
                if self.changes.is_empty() {
                    format!("{serials}, the same objects")
                } else {
                    serials
                }
            }
        }
    }
}

impl TableOutput for CompilePlan {
    fn table(&self) -> String {
        let mut lines = Vec::new();
        for (node, plan) in &self.nodes {
            lines.push(format!("Node {node}: {}", plan.says()));
            for (section, differences) in &plan.changes {
                lines.push(format!("  {section}"));
                for one in differences {
                    let word = match one.change {
                        ObjectChange::Added => " (new)",
                        ObjectChange::Removed => " (goes)",
                        ObjectChange::Changed => "",
                    };
                    lines.push(format!("    {}{word}", one.object));
                    lines.extend(one.removed.iter().map(|line| format!("    - {line}")));
                    lines.extend(one.added.iter().map(|line| format!("    + {line}")));
                }
            }
        }
        lines.extend(self.note.map(str::to_owned));
        lines.join("\n")
    }
}
