//! One run of the publisher: read, compile, sign, write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use postern_compile::gate::Held;
use postern_compile::snapshot::Settings;
use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome, compile};
use postern_intent::sign::sign_intent;
use postern_intent::{Body, KeySet, NodeName};

use super::error::FilesError;
use super::folder::Folder;
use super::inputs::{Inputs, Sources};
use super::published::{Published, newest, read_envelopes};
use super::state::State;
use super::write::{write_atomically, write_if_changed, write_json};

/// What a run needs besides its folder.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Keys to sign with, every one of them.
    pub signing_keys: Vec<SigningKey>,
    /// Keys whose envelopes count as published.
    pub trusted: KeySet,
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
    let mut state = State::read(&folder.state())?;
    let copies = read_envelopes(&folder.copies(), &options.trusted)?;
    let shown = read_envelopes(&folder.intents(), &options.trusted)?;
    let mut published = newest(copies, shown);
    let sources = Sources {
        manifests: folder.manifests(),
        reports: Some(folder.reports()),
        approvals: Some(folder.approvals()),
    };
    let bodies: BTreeMap<NodeName, Body> = published
        .iter()
        .map(|(node, published)| (node.clone(), published.body.clone()))
        .collect();
    let inputs = Inputs::read(&sources, &mut state, bodies, options.settings.clone(), now)?;
    let compilation = compile(&inputs.snapshot);
    let outcome = sign(
        &compilation,
        options,
        &mut published,
        inputs.ignored_reports,
    )?;
    state.memory = compilation.memory;
    write(&folder, &published, &state, &outcome)?;
    for node in &compilation.retired {
        retire(&folder, node)?;
    }
    Ok(outcome)
}

/// Signs what is to be published, beside what stays.
fn sign(
    compilation: &Compilation,
    options: &PublishOptions,
    published: &mut BTreeMap<NodeName, Published>,
    ignored_reports: BTreeMap<PathBuf, String>,
) -> Result<PublishOutcome, FilesError> {
    let mut outcome = PublishOutcome {
        written: Vec::new(),
        kept: Vec::new(),
        restored: Vec::new(),
        verdicts: compilation.verdicts.clone(),
        held: compilation.held.clone(),
        ignored_reports,
    };
    for (node, decided) in &compilation.nodes {
        match decided {
            NodeOutcome::Keep => outcome.kept.push(node.clone()),
            NodeOutcome::Restored => outcome.restored.push(node.clone()),
            NodeOutcome::Publish(body) => {
                published.insert(
                    node.clone(),
                    Published {
                        bytes: signed(body, options)?,
                        body: (**body).clone(),
                    },
                );
                outcome.written.push(node.clone());
            }
        }
    }
    Ok(outcome)
}

fn signed(body: &Body, options: &PublishOptions) -> Result<Vec<u8>, FilesError> {
    let node = body.node.name.to_string();
    let envelope = sign_intent(body, &options.signing_keys).map_err(|source| FilesError::Sign {
        node: node.clone(),
        source,
    })?;
    let mut bytes = serde_json::to_vec(&envelope).map_err(|source| FilesError::Serialize {
        path: PathBuf::from(node),
        source,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write(
    folder: &Folder,
    published: &BTreeMap<NodeName, Published>,
    state: &State,
    outcome: &PublishOutcome,
) -> Result<(), FilesError> {
    for node in &outcome.written {
        if let Some(published) = published.get(node) {
            write_atomically(&folder.copy(node.as_str()), &published.bytes)?;
        }
    }
    state.write(&folder.state())?;
    for node in outcome.written.iter().chain(&outcome.kept) {
        if let Some(published) = published.get(node) {
            write_if_changed(&folder.intent(node.as_str()), &published.bytes)?;
        }
    }
    write_json(
        &folder.verdicts(),
        &serde_json::json!({ "verdicts": outcome.verdicts, "held": outcome.held }),
    )
}

/// The last intent of a node that is gone has run out: its numbers are free again.
fn retire(folder: &Folder, node: &NodeName) -> Result<(), FilesError> {
    for path in [folder.copy(node.as_str()), folder.intent(node.as_str())] {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(FilesError::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
