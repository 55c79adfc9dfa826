//! `posternctl explain`: which policy, why, and which way out.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use postern_compile::explain::{Explanation, explain};
use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome, Snapshot, compile};
use postern_intent::{Body, Namespace, NodeName, PodName};

use super::inputs::InputArguments;
use super::{Answer, End, VerbError};
use crate::output::{Format, Shown, render, table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Which policy decides about a pod, and where the pod leaves.
    Pod(Named),
    /// What became of a policy.
    Policy(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// `namespace/name`.
    name: String,
    #[command(flatten)]
    inputs: InputArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<Answer, VerbError> {
    match &arguments.what {
        What::Pod(named) => {
            let (snapshot, compilation) = named.compile()?;
            let explanation = pod(&snapshot, &compilation, &named.name)?;
            Ok(Answer {
                text: render(&explanation, format)?,
                end: End::Well,
            })
        }
        What::Policy(named) => {
            let (_, compilation) = named.compile()?;
            let found = compilation.verdicts.into_iter().find(|verdict| {
                verdict
                    .namespace
                    .as_ref()
                    .is_some_and(|namespace| format!("{namespace}/{}", verdict.name) == named.name)
            });
            let found = found.ok_or_else(|| VerbError::NotFound {
                kind: "EgressPolicy",
                name: named.name.clone(),
            })?;
            Ok(Answer {
                text: render(&found, format)?,
                end: End::Well,
            })
        }
    }
}

impl Named {
    fn compile(&self) -> Result<(Snapshot, Compilation), VerbError> {
        let (inputs, _) = self.inputs.read(None, &[])?;
        let compilation = compile(&inputs.snapshot);
        Ok((inputs.snapshot, compilation))
    }
}

fn pod(
    snapshot: &Snapshot,
    compilation: &Compilation,
    wanted: &str,
) -> Result<Explanation, VerbError> {
    let unusable = || VerbError::Name(wanted.to_owned());
    let (namespace, name) = wanted.split_once('/').ok_or_else(unusable)?;
    let namespace: Namespace = namespace.parse().map_err(|_| unusable())?;
    let name: PodName = name.parse().map_err(|_| unusable())?;
    let mut bodies: BTreeMap<NodeName, Body> = snapshot.previous.clone();
    for (node, outcome) in &compilation.nodes {
        if let NodeOutcome::Publish(body) = outcome {
            bodies.insert(node.clone(), (**body).clone());
        }
    }
    explain(snapshot, &bodies, &namespace, &name).ok_or_else(|| VerbError::NotFound {
        kind: "Pod",
        name: wanted.to_owned(),
    })
}

impl Shown for Explanation {
    fn table(&self) -> String {
        let rows = self.policies.iter().map(|considered| {
            vec![
                considered.name.clone(),
                considered.priority.to_string(),
                format!("{:?}", considered.outcome),
            ]
        });
        let policies = table(
            &["POLICY", "PRIORITY", "OUTCOME"],
            &rows.collect::<Vec<_>>(),
        );
        format!(
            "Pod {} on node {}: {}\n\n{policies}",
            self.pod, self.node, self.summary
        )
    }
}

impl Shown for Verdict {
    fn table(&self) -> String {
        let rows = self.conditions.iter().map(|finding| {
            vec![
                finding.kind.to_string(),
                finding.state.as_str().to_owned(),
                finding.reason.to_string(),
                finding.message.clone(),
            ]
        });
        table(
            &["CONDITION", "STATUS", "REASON", "MESSAGE"],
            &rows.collect::<Vec<_>>(),
        )
    }
}
