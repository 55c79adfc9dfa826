//! Where approvals are kept: in files beside a publisher, or in a cluster.

use std::path::{Path, PathBuf};

use clap::Args;
use postern_compile::gate::{Approval, PendingApproval};
use postern_crds::names::SYSTEM_NAMESPACE;
use serde::Deserialize;

use super::VerbError;
use crate::approval::{ApprovalEntry, Effect};
use crate::cluster::{ClusterConnection, ClusterOptions};
use crate::files::{ApprovalsFile, FilesError, read_approvals, write_atomically};

/// Which cluster. Without any of it: the one that kubectl would take.
#[derive(Debug, Args)]
#[group(id = "in-cluster", multiple = true)]
pub(super) struct ClusterArguments {
    /// A kubeconfig; default: KUBECONFIG, then ~/.kube/config, then the account of the pod that this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; default: the current one.
    #[arg(long)]
    context: Option<String>,
    /// The namespace of operator and agents.
    #[arg(short, long, default_value = SYSTEM_NAMESPACE)]
    namespace: String,
}

impl ClusterArguments {
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The cluster.
    pub(super) fn find(&self) -> Result<ClusterConnection, VerbError> {
        let access = ClusterOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
        };
        Ok(ClusterConnection::find(&access)?)
    }
}

/// Which cluster, for verbs that ask for no object of the operator.
#[derive(Debug, Args)]
#[group(id = "asked-cluster", multiple = true, conflicts_with = "manifests")]
pub(super) struct ReachArguments {
    /// A kubeconfig; default: KUBECONFIG, then ~/.kube/config, then the account of the pod that this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; default: the current one.
    #[arg(long)]
    context: Option<String>,
}

impl ReachArguments {
    /// The cluster.
    pub(super) fn find(&self) -> Result<ClusterConnection, VerbError> {
        let access = ClusterOptions {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: SYSTEM_NAMESPACE.to_owned(),
        };
        Ok(ClusterConnection::find(&access)?)
    }
}

/// Files of a publisher. One of them is enough to say that no cluster is meant.
#[derive(Debug, Args)]
#[group(id = "in-files", multiple = true, conflicts_with = "in-cluster")]
pub(super) struct FileArguments {
    /// Instead of a cluster: the verdicts of a publisher's last run, where it stands what waits [default: verdicts.json].
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// The publisher's approvals, to which this one is added [default: approvals.yaml].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Where approvals are kept.
pub(super) enum ApprovalStore {
    /// In files.
    Files { verdicts: PathBuf, file: PathBuf },
    /// In a cluster.
    Cluster(ClusterConnection),
}

#[derive(Deserialize)]
struct VerdictsFile {
    held: Vec<PendingApproval>,
}

impl ApprovalStore {
    /// The one that the arguments name.
    pub(super) fn find(
        files: &FileArguments,
        cluster: &ClusterArguments,
    ) -> Result<Self, VerbError> {
        if files.verdicts.is_none() && files.file.is_none() {
            return cluster.find().map(Self::Cluster);
        }
        let or = |path: &Option<PathBuf>, default: &str| {
            path.clone().unwrap_or_else(|| PathBuf::from(default))
        };
        Ok(Self::Files {
            verdicts: or(&files.verdicts, "verdicts.json"),
            file: or(&files.file, "approvals.yaml"),
        })
    }

    /// What waits.
    pub(super) fn held(&self) -> Result<Vec<PendingApproval>, VerbError> {
        match self {
            Self::Files { verdicts, .. } => held_in(verdicts),
            Self::Cluster(cluster) => Ok(cluster.held()?),
        }
    }

    /// Adds approvals, and says of each, in order, what became of it.
    pub(super) fn approve(
        &self,
        approvals: &[Approval],
        effect: Effect,
    ) -> Result<Vec<ApprovalEntry>, VerbError> {
        match self {
            Self::Files { file, .. } => add_to(file, approvals, effect),
            Self::Cluster(cluster) => Ok(cluster.approve(approvals, effect)?),
        }
    }
}

fn held_in(verdicts: &Path) -> Result<Vec<PendingApproval>, VerbError> {
    let json = std::fs::read(verdicts).map_err(|source| FilesError::Read {
        path: verdicts.to_owned(),
        source,
    })?;
    let waiting: VerdictsFile =
        serde_json::from_slice(&json).map_err(|source| VerbError::Document {
            path: verdicts.to_owned(),
            source,
        })?;
    Ok(waiting.held)
}

fn add_to(
    file: &Path,
    approvals: &[Approval],
    effect: Effect,
) -> Result<Vec<ApprovalEntry>, VerbError> {
    let mut all = read_approvals(file)?;
    let entered: Vec<ApprovalEntry> = approvals
        .iter()
        .map(|approval| match all.contains(approval) {
            true => ApprovalEntry::Already,
            false => ApprovalEntry::New,
        })
        .collect();
    if effect == Effect::Trial || !entered.contains(&ApprovalEntry::New) {
        return Ok(entered);
    }
    all.extend_from_slice(approvals);
    all.sort();
    all.dedup();
    let all = ApprovalsFile { approvals: all };
    let yaml = serde_saphyr::to_string(&all).map_err(VerbError::Approvals)?;
    write_atomically(file, yaml.as_bytes())?;
    Ok(entered)
}
