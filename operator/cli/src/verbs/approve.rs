//! `posternctl approve`: consent to a release that waits.

use clap::{Args, ValueEnum};
use postern_compile::gate::{Approval, ApprovalSubject, PendingApproval};
use serde::Serialize;

use super::source::{ApprovalStore, ClusterArguments, FileArguments};
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::approval::{ApprovalEntry, Effect, held_table};
use crate::output::{Format, TableOutput, render};

/// The two ways of writing it. Whoever mixes them is shown both.
const USAGE: &str = "posternctl approve [KIND NAME | --all --cause CAUSE] [--dry-run] [--kubeconfig FILE] [--context NAME] [--namespace NAME]\n       \
                     posternctl approve [KIND NAME | --all --cause CAUSE] [--dry-run] --verdicts FILE [--file FILE]";

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(super) struct Arguments {
    /// What to approve; without it, what waits is listed.
    #[arg(value_enum, requires = "name", group = "chosen")]
    kind: Option<SubjectKind>,
    /// Its name; a policy's is NAMESPACE/NAME.
    name: Option<String>,
    /// Approve everything that waits for this one cause, such as every node after a restore.
    #[arg(long, requires = "cause", group = "chosen")]
    all: bool,
    /// The cause, as it is listed: Restored, PolicyDeleted and so on.
    #[arg(long, requires = "all")]
    cause: Option<String>,
    /// Judge everything, and write nothing.
    #[arg(long, requires = "chosen")]
    dry_run: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    files: FileArguments,
}

/// What a release can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SubjectKind {
    /// A policy that changed or went.
    Policy,
    /// A namespace that denied.
    Namespace,
    /// A node that the cluster is behind of, as after a restore.
    Node,
}

/// What waits.
#[derive(Serialize)]
struct ApprovalList {
    held: Vec<PendingApproval>,
}

/// What was approved.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApprovalResult {
    approved: Vec<PendingApproval>,
    /// Those that somebody had approved before; nothing was changed about them.
    already: Vec<PendingApproval>,
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let source = ApprovalStore::find(&arguments.files, &arguments.cluster)?;
    let held = source.held()?;
    let text = match (arguments.kind, &arguments.name) {
        _ if let Some(cause) = &arguments.cause => {
            let chosen = caused_by(held, cause)?;
            render(&approve(&source, chosen, arguments.effect())?, format)?
        }
        (Some(kind), Some(name)) => {
            let chosen = chosen(held, kind, name)?;
            render(&approve(&source, chosen, arguments.effect())?, format)?
        }
        _ => render(&ApprovalList { held }, format)?,
    };
    Ok(VerbAnswer {
        text,
        end: VerbEnd::Well,
    })
}

impl Arguments {
    fn effect(&self) -> Effect {
        if self.dry_run {
            Effect::Trial
        } else {
            Effect::Written
        }
    }
}

/// What waits for a cause. Nothing is an error: whoever spells a cause wrong must not believe that it was approved.
fn caused_by(held: Vec<PendingApproval>, cause: &str) -> Result<Vec<PendingApproval>, VerbError> {
    let (chosen, others): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|held| held.cause.to_string() == cause);
    if chosen.is_empty() {
        let others: Vec<String> = others.iter().map(|held| held.cause.to_string()).collect();
        return Err(nothing_held(format!("cause {cause}"), &others));
    }
    Ok(chosen)
}

fn nothing_held(wanted: String, others: &[String]) -> VerbError {
    VerbError::NothingHeld {
        wanted,
        others: if others.is_empty() {
            "nothing".to_owned()
        } else {
            others.join(", ")
        },
    }
}

/// What waits about a subject: there may be several causes.
fn chosen(
    held: Vec<PendingApproval>,
    kind: SubjectKind,
    name: &str,
) -> Result<Vec<PendingApproval>, VerbError> {
    let is_meant = |subject: &ApprovalSubject| match (kind, subject) {
        (SubjectKind::Policy, ApprovalSubject::Policy(found)) => found == name,
        (SubjectKind::Namespace, ApprovalSubject::Namespace(found)) => found.as_str() == name,
        (SubjectKind::Node, ApprovalSubject::Node(found)) => found.as_str() == name,
        _ => false,
    };
    let (chosen, others): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|held| is_meant(&held.subject));
    if chosen.is_empty() {
        let others: Vec<String> = others.iter().map(|held| held.subject.to_string()).collect();
        return Err(nothing_held(format!("{} {name}", kind.word()), &others));
    }
    Ok(chosen)
}

impl SubjectKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Namespace => "namespace",
            Self::Node => "node",
        }
    }
}

fn approve(
    source: &ApprovalStore,
    chosen: Vec<PendingApproval>,
    effect: Effect,
) -> Result<ApprovalResult, VerbError> {
    let approvals: Vec<Approval> = chosen.iter().map(Approval::of).collect();
    let entered = source.approve(&approvals, effect)?;
    let (new, already): (Vec<_>, Vec<_>) = chosen
        .into_iter()
        .zip(entered)
        .partition(|(_, entered)| *entered == ApprovalEntry::New);
    let held = |all: Vec<(PendingApproval, ApprovalEntry)>| {
        all.into_iter().map(|(held, _)| held).collect()
    };
    Ok(ApprovalResult {
        approved: held(new),
        already: held(already),
        dry_run: effect == Effect::Trial,
    })
}

impl TableOutput for ApprovalList {
    fn table(&self) -> String {
        held_table(&self.held)
    }
}

impl TableOutput for ApprovalResult {
    fn table(&self) -> String {
        let act = if self.dry_run {
            "would be approved"
        } else {
            "approved"
        };
        let line = |act: &str, held: &PendingApproval| {
            let PendingApproval {
                subject,
                cause,
                pods,
                ..
            } = held;
            format!("{act}: {subject} ({cause}), {pods} pods")
        };
        let new = self.approved.iter().map(|held| line(act, held));
        let already = self.already.iter().map(|held| {
            let line = line("approved before", held);
            format!("{line}; nothing was changed")
        });
        new.chain(already).collect::<Vec<_>>().join("\n")
    }
}
