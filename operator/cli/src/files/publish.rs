//! The publisher of a folder: it reads, compiles, signs and writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use postern_compile::gate::PendingApproval;
use postern_compile::publish::{
    CredentialStore, DocumentSigner, DocumentWrite, PublishStage, PublishedDocument,
    PublishedState, SignedDocument, plan_documents,
};
use postern_compile::snapshot::CompilerSettings;
use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome, compile};
use postern_intent::credential::SecretBytes;
use postern_intent::sign::SignError;
use postern_intent::{DsseEnvelope, NodeDocument, NodeName, TrustedKeys};

use super::earlier_runs::EarlierRuns;
use super::error::FilesError;
use super::folder::PublisherFolder;
use super::inputs::{FileInputs, Sources};
use super::write::{write_if_changed, write_json};

/// What a run needs besides its folder.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Keys to sign with, every one of them.
    pub signing_keys: Vec<SigningKey>,
    /// Keys whose envelopes count as published.
    pub trusted: TrustedKeys,
    /// The cluster's settings; validity and refresh are among them.
    pub settings: CompilerSettings,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct PublishOutcome {
    /// Nodes with a new envelope.
    pub written: Vec<NodeName>,
    /// Nodes that get nothing until a person approves.
    pub restored: Vec<NodeName>,
    /// The conditions of each resource.
    pub verdicts: Vec<Verdict>,
    /// What waits for an approval.
    pub held: Vec<PendingApproval>,
    /// Reports that were passed over, with the reason.
    pub ignored_reports: BTreeMap<PathBuf, String>,
}

/// Runs once in a folder with manifests, reports, approvals, envelopes and verdicts.
///
/// # Errors
/// [`FilesError`]; what agents read is then as it was, or new for some nodes and old for others.
pub fn publish_once(
    dir: &Path,
    options: &PublishOptions,
    now: Timestamp,
) -> Result<PublishOutcome, FilesError> {
    let folder = PublisherFolder::at(dir);
    let mut known = EarlierRuns::of_folder(&folder, &options.trusted)?;
    let sources = Sources {
        manifests: dir.join("manifests"),
        reports: Some(dir.join("reports")),
        approvals: Some(dir.join("approvals.yaml")),
    };
    let (settings, keys) = (options.settings.clone(), &options.signing_keys);
    let inputs = FileInputs::read(&sources, &mut known, settings, keys, now)?;
    let compilation = compile(&inputs.snapshot);
    let verdicts = serde_json::json!({
        "verdicts": compilation.verdicts,
        "held": compilation.held,
        "unreadable": known.unreadable(),
    });
    let signer = FolderSigner {
        keys,
        credentials: &inputs.credentials,
    };
    publish(&folder, known, &compilation, &signer)?;
    write_json(&dir.join("verdicts.json"), &verdicts)?;
    let of_outcome = |wanted: fn(&NodeOutcome) -> bool| {
        let nodes = compilation.nodes.iter();
        let nodes = nodes.filter(|(_, outcome)| wanted(outcome));
        nodes.map(|(node, _)| node.clone()).collect()
    };
    Ok(PublishOutcome {
        written: of_outcome(|outcome| matches!(outcome, NodeOutcome::Publish(_))),
        restored: of_outcome(|outcome| matches!(outcome, NodeOutcome::Restored)),
        verdicts: compilation.verdicts,
        held: compilation.held,
        ignored_reports: inputs.ignored_reports,
    })
}

/// Signs what a compilation publishes, and carries out its writes in their order.
///
/// # Errors
/// As [`publish_once`].
pub fn publish(
    folder: &PublisherFolder,
    known: EarlierRuns,
    compilation: &Compilation,
    signer: &FolderSigner<'_>,
) -> Result<(), FilesError> {
    let EarlierRuns {
        mut state,
        mut published,
    } = known;
    let planned = plan_documents(compilation, &published, signer)?;
    for stage in planned.stages(&compilation.retired) {
        match stage {
            PublishStage::Memory => {
                state.memory = compilation.memory.clone();
                state.write(&folder.state)?;
            }
            PublishStage::Cluster(write) => {
                published.cluster = write.map_or(published.cluster, carried_out);
                let Some(cluster) = published.cluster.published() else {
                    continue;
                };
                for envelopes in folder.envelopes() {
                    write_envelope(&envelopes.cluster(), &cluster.form)?;
                }
                for (node, outcome) in &compilation.nodes {
                    if receives(outcome, published.nodes.get(node)) {
                        write_envelope(&folder.intents.cluster_of(node), &cluster.form)?;
                    }
                }
            }
            PublishStage::Nodes(writes) => {
                for write in writes {
                    let node = write.name.clone();
                    published.nodes.insert(node, carried_out(write));
                }
                // What stays is written too: it may be missing or damaged in one of the two folders.
                for (node, outcome) in &compilation.nodes {
                    let state = published.nodes.get(node);
                    let document = state.filter(|_| receives(outcome, state));
                    if let Some(document) = document.and_then(PublishedState::published) {
                        for envelopes in folder.envelopes() {
                            write_envelope(&envelopes.intent(node), &document.form)?;
                        }
                    }
                }
            }
            PublishStage::Retire(nodes) => {
                for node in &nodes {
                    retire(folder, node)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether a run writes the files of a node.
fn receives<D, F, E>(outcome: &NodeOutcome, state: Option<&PublishedState<D, F, E>>) -> bool {
    match outcome {
        NodeOutcome::Publish(_) => true,
        NodeOutcome::Keep | NodeOutcome::Awaited => {
            state.is_some_and(|state| state.published().is_some())
        }
        NodeOutcome::Restored => false,
    }
}

/// Signs for a folder, in which a key set is no part of an envelope.
#[derive(Debug, Clone, Copy)]
pub struct FolderSigner<'a> {
    /// Keys to sign with, every one of them.
    pub keys: &'a [SigningKey],
    /// Credentials that are encrypted to nodes before the signature.
    pub credentials: &'a CredentialStore,
}

impl DocumentSigner for FolderSigner<'_> {
    type Form = DsseEnvelope;

    fn stamp(&self, document: &mut NodeDocument) -> Result<(), SignError> {
        self.credentials.seal(document, entropy)
    }

    fn sign<D: SignedDocument>(&self, document: &D) -> Result<DsseEnvelope, SignError> {
        document.sign(self.keys)
    }

    fn resign<D: SignedDocument>(
        &self,
        _: &DsseEnvelope,
    ) -> Result<Option<DsseEnvelope>, SignError> {
        Ok(None)
    }
}

fn entropy() -> Option<SecretBytes> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(SecretBytes::new(bytes))
}

fn carried_out<D, E>(write: DocumentWrite<D, DsseEnvelope>) -> PublishedState<D, DsseEnvelope, E> {
    PublishedState::Current(PublishedDocument {
        document: write.document,
        form: write.form,
    })
}

fn write_envelope(path: &Path, envelope: &DsseEnvelope) -> Result<(), FilesError> {
    let mut bytes = serde_json::to_vec(envelope).map_err(|source| FilesError::Serialize {
        path: path.to_owned(),
        source,
    })?;
    bytes.push(b'\n');
    write_if_changed(path, &bytes)
}

/// The last intent of a node that is gone has run out: its numbers are free again.
fn retire(folder: &PublisherFolder, node: &NodeName) -> Result<(), FilesError> {
    let copies = folder.envelopes().map(|envelopes| envelopes.intent(node));
    for path in copies.chain([folder.intents.cluster_of(node)]) {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(FilesError::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
