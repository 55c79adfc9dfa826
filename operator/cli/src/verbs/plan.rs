//! `posternctl plan`: what a compile would change on the nodes, object by object.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use postern_compile::{NodeOutcome, compile};
use postern_intent::{Body, NodeName};
use serde::Serialize;

use super::bodies::{UNPROVED, coming, coming_cluster};
use super::inputs::InputArguments;
use super::{Answer, End, VerbError};
use crate::keys::read_signing_keys;
use crate::output::{Format, Shown, render};
use crate::plan::{Change, Difference, Section, difference, objects};

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
struct Plan {
    nodes: BTreeMap<NodeName, NodePlan>,
    /// In what a compile may differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodePlan {
    outcome: Outcome,
    /// The serial in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    /// The serial that would be published.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u64>,
    changes: BTreeMap<Section, Vec<Difference>>,
}

/// What would become of a node's intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Outcome {
    /// It stays.
    Keep,
    /// A new one is published.
    Publish,
    /// Nothing is published until a person approves.
    Restored,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<Answer, VerbError> {
    let keys = read_signing_keys(&arguments.key)?;
    let (inputs, _) = arguments.inputs.read(None, &keys)?;
    let compilation = compile(&inputs.snapshot);
    let cluster = coming_cluster(&inputs.snapshot, &compilation);
    let wanted = |node: &NodeName| arguments.node.as_ref().is_none_or(|wanted| wanted == node);
    let nodes: BTreeMap<NodeName, NodePlan> = compilation
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
                NodePlan::new(outcome, old.as_ref(), coming.as_ref()),
            )
        })
        .collect();
    if let (Some(name), true) = (&arguments.node, nodes.is_empty()) {
        return Err(VerbError::NotFound {
            kind: "Node",
            name: name.to_string(),
        });
    }
    let waits = nodes.values().any(|plan| plan.outcome == Outcome::Restored);
    let end = if waits || !compilation.held.is_empty() {
        End::Findings
    } else {
        End::Well
    };
    let mut reports = inputs.snapshot.reports.iter();
    let unchecked = keys.is_empty() && reports.any(|report| report.key.is_some());
    let note = unchecked.then_some(UNPROVED);
    Ok(Answer {
        text: render(&Plan { nodes, note }, format)?,
        end,
    })
}

impl NodePlan {
    fn new(outcome: &NodeOutcome, old: Option<&Body>, coming: Option<&Body>) -> Self {
        let changes = coming.map(|coming| {
            let old = old.map(objects).unwrap_or_default();
            difference(&old, &objects(coming))
        });
        let (outcome, to) = match outcome {
            NodeOutcome::Keep | NodeOutcome::Awaited => (Outcome::Keep, None),
            NodeOutcome::Restored => (Outcome::Restored, None),
            NodeOutcome::Publish(document) => (Outcome::Publish, Some(document.serial.0)),
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
            Outcome::Keep if self.changes.is_empty() => "nothing changes".to_owned(),
            Outcome::Keep => "its intent stays, and the cluster document changes".to_owned(),
            Outcome::Restored => "gets nothing until a person approves".to_owned(),
            Outcome::Publish => {
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

impl Shown for Plan {
    fn table(&self) -> String {
        let mut lines = Vec::new();
        for (node, plan) in &self.nodes {
            lines.push(format!("Node {node}: {}", plan.says()));
            for (section, differences) in &plan.changes {
                lines.push(format!("  {section:?}"));
                for one in differences {
                    let word = match one.change {
                        Change::Added => " (new)",
                        Change::Removed => " (goes)",
                        Change::Changed => "",
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
