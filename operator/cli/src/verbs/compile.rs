//! `posternctl compile`: manifests and reports in, signed envelopes and verdicts out.

use std::path::{Path, PathBuf};

use clap::Args;
use ed25519_dalek::SigningKey;
use postern_compile::gate::Held;
use postern_compile::verdict::Verdict;
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome, compile};
use postern_crds::conditions::{ConditionStatus as Status, Reason};
use postern_intent::sign::{SignError, sign_cluster, sign_intent};
use postern_intent::{DsseEnvelope, NodeName};
use serde::Serialize;

use super::inputs::InputArguments;
use super::{Answer, End, VerbError};
use crate::approval::held_table;
use crate::files::{CLUSTER_ENVELOPE, ENVELOPE, Known, write_if_changed};
use crate::keys::read_signing_keys;
use crate::output::{Format, Shown, render, table};

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
struct Outcome {
    nodes: Vec<NodeLine>,
    verdicts: Vec<Verdict>,
    held: Vec<Held>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeLine {
    node: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<Answer, VerbError> {
    let keys = read_signing_keys(&arguments.key)?;
    let out = arguments.out.as_deref();
    let (inputs, known) = arguments.inputs.read(out, &keys)?;
    let compilation = compile(&inputs.snapshot);
    // Without a folder for envelopes it is a trial, after which everything is as it was.
    if let (Some(out), Some(state)) = (out, arguments.inputs.state(out)) {
        write(out, &state, known, &compilation, &keys)?;
    }
    let result = Outcome {
        nodes: compilation.nodes.iter().map(line).collect(),
        verdicts: compilation.verdicts,
        held: compilation.held,
    };
    Ok(Answer {
        end: result.end(),
        text: render(&result, format)?,
    })
}

fn line((node, outcome): (&NodeName, &NodeOutcome)) -> NodeLine {
    let (outcome, serial) = match outcome {
        NodeOutcome::Keep => ("Keep", None),
        NodeOutcome::Restored => ("Restored", None),
        NodeOutcome::Awaited => ("Awaited", None),
        NodeOutcome::Publish(body) => ("Publish", Some(body.serial.0)),
    };
    NodeLine {
        node: node.to_string(),
        outcome,
        serial,
    }
}

/// Writes every envelope that is new or stays, and then what the next compile has to know.
fn write(
    out: &Path,
    state: &Path,
    mut known: Known,
    compilation: &Compilation,
    keys: &[SigningKey],
) -> Result<(), VerbError> {
    let mut envelopes = Vec::new();
    let cluster = match &compilation.cluster {
        ClusterOutcome::Publish(document) => Some(bytes(
            &out.join(CLUSTER_ENVELOPE),
            sign_cluster(document, keys),
        )?),
        ClusterOutcome::Keep => known.cluster.as_ref().map(|cluster| cluster.bytes.clone()),
    };
    envelopes.extend(
        cluster
            .clone()
            .map(|bytes| (out.join(CLUSTER_ENVELOPE), bytes)),
    );
    for (node, outcome) in &compilation.nodes {
        let folder = out.join(node.as_str());
        let path = folder.join(ENVELOPE);
        let bytes = match outcome {
            NodeOutcome::Publish(body) => bytes(&path, sign_intent(body, keys))?,
            NodeOutcome::Keep => match known.published.get(node) {
                Some(published) => published.bytes.clone(),
                None => continue,
            },
            NodeOutcome::Restored | NodeOutcome::Awaited => continue,
        };
        envelopes.extend(
            cluster
                .clone()
                .map(|bytes| (folder.join(CLUSTER_ENVELOPE), bytes)),
        );
        envelopes.push((path, bytes));
    }
    known.begin(state)?;
    for (path, bytes) in envelopes {
        write_if_changed(&path, &bytes)?;
    }
    known.state.memory = compilation.memory.clone();
    known.state.write(state)?;
    Ok(())
}

fn bytes(path: &Path, envelope: Result<DsseEnvelope, SignError>) -> Result<Vec<u8>, VerbError> {
    let envelope = envelope.map_err(VerbError::Sign)?;
    serde_json::to_vec(&envelope).map_err(|source| VerbError::Document {
        path: path.to_owned(),
        source,
    })
}

impl Outcome {
    fn end(&self) -> End {
        // Offline there is nobody yet who could report that it carries what is compiled just now.
        let refused = |verdict: &Verdict| {
            verdict.conditions.iter().any(|finding| {
                finding.state == Status::False && finding.reason != Reason::Converging
            })
        };
        let blocked = self.nodes.iter().any(|line| line.outcome == "Restored");
        if self.held.is_empty() && !blocked && !self.verdicts.iter().any(refused) {
            End::Well
        } else {
            End::Findings
        }
    }
}

impl Shown for Outcome {
    fn table(&self) -> String {
        let mut rows = Vec::new();
        for verdict in &self.verdicts {
            let name = match &verdict.namespace {
                Some(namespace) => format!("{namespace}/{}", verdict.name),
                None => verdict.name.clone(),
            };
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
