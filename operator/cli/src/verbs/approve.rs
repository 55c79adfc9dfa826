//! `posternctl approve`: consent to a release that waits.

use std::path::PathBuf;

use clap::Args;
use postern_compile::gate::{Approval, Held, Subject};
use serde::{Deserialize, Serialize};

use super::{Answer, End, VerbError};
use crate::files::{FilesError, read_approvals, write_atomically};
use crate::output::table;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to approve: `policy NAMESPACE/NAME`, `namespace NAME` or `node NAME`; without it, what waits is listed.
    #[arg(num_args = 0..=2, value_names = ["KIND", "NAME"])]
    subject: Vec<String>,
    /// The verdicts of the last run, where it stands what waits.
    #[arg(long, default_value = "verdicts.json")]
    verdicts: PathBuf,
    /// The approvals, to which this one is added.
    #[arg(long, default_value = "approvals.yaml")]
    file: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Waiting {
    held: Vec<Held>,
}

#[derive(Debug, Serialize)]
struct Approvals {
    approvals: Vec<Approval>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Answer, VerbError> {
    let path = &arguments.verdicts;
    let json = std::fs::read(path).map_err(|source| FilesError::Read {
        path: path.clone(),
        source,
    })?;
    let waiting: Waiting = serde_json::from_slice(&json).map_err(|source| VerbError::Document {
        path: path.clone(),
        source,
    })?;
    if arguments.subject.is_empty() {
        return Ok(Answer {
            text: held_table(&waiting.held),
            end: End::Well,
        });
    }
    let wanted = arguments.subject.join(" ");
    let chosen: Vec<&Held> = waiting
        .held
        .iter()
        .filter(|held| held.subject.to_string() == wanted)
        .collect();
    if chosen.is_empty() {
        return Err(VerbError::NothingHeld(wanted));
    }
    let mut approvals = read_approvals(&arguments.file)?;
    approvals.extend(chosen.iter().map(|held| Approval {
        subject: held.subject.clone(),
        cause: held.cause,
        digest: held.digest.clone(),
    }));
    approvals.sort();
    approvals.dedup();
    let yaml = serde_saphyr::to_string(&Approvals { approvals }).map_err(VerbError::Approvals)?;
    write_atomically(&arguments.file, yaml.as_bytes())?;
    let pods: usize = chosen.iter().map(|held| held.pods).sum();
    Ok(Answer {
        text: format!("approved: {wanted}, {pods} pods"),
        end: End::Well,
    })
}

/// What waits, for people.
pub(super) fn held_table(held: &[Held]) -> String {
    let rows = held.iter().map(|held| {
        let (kind, name) = match &held.subject {
            Subject::Policy(name) => ("policy", name.clone()),
            Subject::Namespace(name) => ("namespace", name.to_string()),
            Subject::Node(name) => ("node", name.to_string()),
        };
        vec![
            kind.to_owned(),
            name,
            held.cause.to_string(),
            held.pods.to_string(),
            held.since.to_string(),
        ]
    });
    table(
        &["HELD", "NAME", "CAUSE", "PODS", "SINCE"],
        &rows.collect::<Vec<_>>(),
    )
}
