//! `posternctl compile`: manifests and reports in, signed envelopes and verdicts out.

use std::path::PathBuf;

use clap::Args;
use postern_compile::gate::PendingApproval;
use postern_compile::verdict::Verdict;
use postern_compile::{NodeOutcome, compile};
use postern_crds::conditions::{ConditionStatus as Status, Reason};
use postern_intent::NodeName;
use serde::Serialize;

use super::inputs::InputArguments;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::approval::held_table;
use crate::files::{EnvelopeFolder, FolderSigner, PublisherFolder, publish};
use crate::full_name::full_name;
use crate::keys::read_signing_keys;
use crate::output::{Format, TableOutput, render, table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    inputs: InputArguments,
    /// Signing keys (PEM, PKCS#8); without one nothing is written and only verdicts are given.
    #[arg(long, requires = "out")]
    key: Vec<PathBuf>,
    /// Where envelopes are written: `<node>/intent.dsse.json`. Those that stand there already count as published.
    #[arg(long, requires = "key")]
    out: Option<PathBuf>,
}

/// What a compile says, for people and programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CompileResult {
    nodes: Vec<NodeResult>,
    verdicts: Vec<Verdict>,
    held: Vec<PendingApproval>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeResult {
    node: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let keys = read_signing_keys(&arguments.key)?;
    let out = arguments.out.as_deref();
    let (inputs, known) = arguments.inputs.read(out, &keys)?;
    let compilation = compile(&inputs.snapshot);
    // Without a folder for envelopes it is a trial, after which everything is as it was.
    if let (Some(out), Some(state)) = (out, arguments.inputs.state(out)) {
        let folder = PublisherFolder {
            intents: EnvelopeFolder::at(out),
            copies: None,
            state,
        };
        let signer = FolderSigner {
            keys: &keys,
            credentials: &inputs.credentials,
        };
        publish(&folder, known, &compilation, &signer)?;
    }
    let result = CompileResult {
        nodes: compilation.nodes.iter().map(line).collect(),
        verdicts: compilation.verdicts,
        held: compilation.held,
    };
    Ok(VerbAnswer {
        end: result.end(),
        text: render(&result, format)?,
    })
}

fn line((node, outcome): (&NodeName, &NodeOutcome)) -> NodeResult {
    let (outcome, serial) = match outcome {
        NodeOutcome::Keep => ("Keep", None),
        NodeOutcome::Restored => ("Restored", None),
        NodeOutcome::Awaited => ("Awaited", None),
        NodeOutcome::Publish(body) => ("Publish", Some(body.serial.0)),
    };
    NodeResult {
        node: node.to_string(),
        outcome,
        serial,
    }
}

impl CompileResult {
    fn end(&self) -> VerbEnd {
        // Offline there is nobody yet who could report that it carries what is compiled just now.
        let refused = |verdict: &Verdict| {
            verdict.conditions.iter().any(|finding| {
                finding.state == Status::False && finding.reason != Reason::Converging
            })
        };
        let blocked = self.nodes.iter().any(|line| line.outcome == "Restored");
        if self.held.is_empty() && !blocked && !self.verdicts.iter().any(refused) {
            VerbEnd::Well
        } else {
            VerbEnd::Findings
        }
    }
}

impl TableOutput for CompileResult {
    fn table(&self) -> String {
        let mut rows = Vec::new();
        for verdict in &self.verdicts {
            let name = full_name(verdict.namespace.as_deref(), &verdict.name);
            for finding in &verdict.conditions {
                rows.push(vec![
                    verdict.kind.to_owned(),
                    name.clone(),
                    finding.kind.to_string(),
                    finding.state.as_str().to_owned(),
                    finding.reason.to_string(),
                    finding.message.clone(),
                ]);
            }
        }
        let mut text = table(
            &["KIND", "NAME", "CONDITION", "STATUS", "REASON", "MESSAGE"],
            &rows,
        );
        let nodes = self.nodes.iter().map(|line| {
            let serial = line
                .serial
                .map(|serial| serial.to_string())
                .unwrap_or_default();
            vec![line.node.clone(), line.outcome.to_owned(), serial]
        });
        text.push_str("\n\n");
        text.push_str(&table(
            &["NODE", "INTENT", "SERIAL"],
            &nodes.collect::<Vec<_>>(),
        ));
        if !self.held.is_empty() {
            text.push_str("\n\n");
            text.push_str(&held_table(&self.held));
        }
        text
    }
}
