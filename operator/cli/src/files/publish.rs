//! One run of the publisher: read, compile, sign, write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use postern_compile::gate::Held;
use postern_compile::snapshot::Settings;
use postern_compile::verdict::Verdict;
use postern_compile::{ClusterOutcome, Compilation, NodeOutcome, compile};
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::sign::{SignError, sign_cluster, sign_intent};
use postern_intent::{DsseEnvelope, NodeName, TrustedKeys};

use super::error::FilesError;
use super::folder::Folder;
use super::inputs::{Inputs, Sources};
use super::known::Known;
use super::published::{CLUSTER_ENVELOPE, Published};
use super::write::{write_if_changed, write_json};

/// What a run needs besides its folder.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Keys to sign with, every one of them.
    pub signing_keys: Vec<SigningKey>,
    /// Keys whose envelopes count as published.
    pub trusted: TrustedKeys,
    /// The cluster's settings; validity and refresh are among them.
    pub settings: Settings,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct PublishOutcome {
    /// Nodes with a new envelope.
    pub written: Vec<NodeName>,
    /// Nodes whose envelope stays.
    pub kept: Vec<NodeName>,
    /// Nodes that get nothing until a person approves.
    pub restored: Vec<NodeName>,
    /// What is said about each resource.
    pub verdicts: Vec<Verdict>,
    /// What waits for an approval.
    pub held: Vec<Held>,
    /// Nodes whose published envelope does not count, copy and shown one alike, with the reason and what to do. They get
    /// nothing until that is put right or a person approves.
    pub unreadable: BTreeMap<NodeName, String>,
    /// Reports that were passed over, with the reason.
    pub ignored_reports: BTreeMap<PathBuf, String>,
}

/// Runs once.
///
/// Our own copies come first, then the state, then what agents read: after a crash in between, the next run goes on
/// from what was decided.
///
/// # Errors
/// [`FilesError`]; what agents read is then as it was, or new for some nodes and old for others.
pub fn publish_once(
    dir: &Path,
    options: &PublishOptions,
    now: Timestamp,
) -> Result<PublishOutcome, FilesError> {
    let folder = Folder::at(dir);
    let mut known = Known::of_folder(&folder, &options.trusted)?;
    let sources = Sources {
        manifests: folder.manifests(),
        reports: Some(folder.reports()),
        approvals: Some(folder.approvals()),
    };
    let inputs = Inputs::read(
        &sources,
        &mut known,
        options.settings.clone(),
        &options.signing_keys,
        now,
    )?;
    let compilation = compile(&inputs.snapshot);
    let outcome = sign(&compilation, options, &mut known, inputs.ignored_reports)?;
    known.begin(&folder.state())?;
    known.state.memory = compilation.memory;
    write(&folder, &known, &outcome)?;
    for node in &compilation.retired {
        retire(&folder, node)?;
    }
    Ok(outcome)
}

/// Signs what is to be published, beside what stays.
fn sign(
    compilation: &Compilation,
    options: &PublishOptions,
    known: &mut Known,
    ignored_reports: BTreeMap<PathBuf, String>,
) -> Result<PublishOutcome, FilesError> {
    let mut outcome = PublishOutcome {
        written: Vec::new(),
        kept: Vec::new(),
        restored: Vec::new(),
        verdicts: compilation.verdicts.clone(),
        held: compilation.held.clone(),
        unreadable: known.unreadable.clone(),
        ignored_reports,
    };
    if let ClusterOutcome::Publish(document) = &compilation.cluster {
        let envelope = sign_cluster(document, &options.signing_keys);
        known.cluster = Some(Published {
            bytes: bytes(CLUSTER_INTENT, envelope)?,
            body: (**document).clone(),
        });
    }
    for (node, decided) in &compilation.nodes {
        match decided {
            NodeOutcome::Keep | NodeOutcome::Awaited => outcome.kept.push(node.clone()),
            NodeOutcome::Restored => outcome.restored.push(node.clone()),
            NodeOutcome::Publish(body) => {
                known.published.insert(
                    node.clone(),
                    Published {
                        bytes: bytes(node.as_str(), sign_intent(body, &options.signing_keys))?,
                        body: (**body).clone(),
                    },
                );
                outcome.written.push(node.clone());
            }
        }
    }
    Ok(outcome)
}

fn bytes(name: &str, envelope: Result<DsseEnvelope, SignError>) -> Result<Vec<u8>, FilesError> {
    let envelope = envelope.map_err(|source| FilesError::Sign {
        node: name.to_owned(),
        source,
    })?;
    let mut bytes = serde_json::to_vec(&envelope).map_err(|source| FilesError::Serialize {
        path: PathBuf::from(name),
        source,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write(folder: &Folder, known: &Known, outcome: &PublishOutcome) -> Result<(), FilesError> {
    let nodes = outcome.written.iter().chain(&outcome.kept);
    let standing: Vec<(&NodeName, &Published)> = nodes
        .filter_map(|node| known.published.get_key_value(node))
        .collect();
    // What stays is written where it is missing or damaged.
    if let Some(cluster) = &known.cluster {
        write_if_changed(&folder.copies().join(CLUSTER_ENVELOPE), &cluster.bytes)?;
    }
    for (node, published) in &standing {
        write_if_changed(&folder.copy(node.as_str()), &published.bytes)?;
    }
    known.state.write(&folder.state())?;
    if let Some(cluster) = &known.cluster {
        write_if_changed(&folder.intents().join(CLUSTER_ENVELOPE), &cluster.bytes)?;
        for (node, _) in &standing {
            write_if_changed(&folder.cluster_intent(node.as_str()), &cluster.bytes)?;
        }
    }
    for (node, published) in &standing {
        write_if_changed(&folder.intent(node.as_str()), &published.bytes)?;
    }
    write_json(
        &folder.verdicts(),
        &serde_json::json!({
            "verdicts": outcome.verdicts,
            "held": outcome.held,
            "unreadable": outcome.unreadable,
        }),
    )
}

/// The last intent of a node that is gone has run out: its numbers are free again.
fn retire(folder: &Folder, node: &NodeName) -> Result<(), FilesError> {
    let node = node.as_str();
    for path in [
        folder.copy(node),
        folder.intent(node),
        folder.cluster_intent(node),
    ] {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(FilesError::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
