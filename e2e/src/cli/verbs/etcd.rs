//! `lab etcd`: stops, starts, saves and sets back the store.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cluster::Bump;
use crate::lab::{Lab, LabError};

#[derive(Debug, Subcommand)]
pub(crate) enum EtcdVerb {
    /// Ask it to end; the API server stays and cannot answer.
    Stop,
    /// Start it, and wait until it answers.
    Start,
    /// Write its content to a file.
    Snapshot {
        /// The file.
        file: PathBuf,
    },
    /// Set it back to a snapshot; the API server is stopped before and started after.
    Restore {
        /// The file.
        file: PathBuf,
        /// Raise the revision by so much and mark what is older as compacted, so that no client sees a version twice.
        #[arg(long)]
        bump_revision: Option<u64>,
    },
}

pub(crate) fn run(lab: &Lab, verb: &EtcdVerb) -> Result<(), LabError> {
    lab.needs_api_server("etcd")?;
    match verb {
        EtcdVerb::Stop => lab.stop_etcd(),
        EtcdVerb::Start => lab.restart_etcd(),
        EtcdVerb::Snapshot { file } => lab.snapshot_etcd(file),
        EtcdVerb::Restore {
            file,
            bump_revision,
        } => lab.restore_etcd(file, bump_revision.map_or(Bump::Keep, Bump::By)),
    }
}
