//! The node as it was before. Refuses without a release: removing the guard of a node that was not released would open it.
//! Root may release it here, because the agent that could be asked may be gone.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_host::{Host, HostError, Unread, apply, observe};
use postern_plan::order::teardown;
use postern_plan::step::Step;
use thiserror::Error;

use crate::files::FileError;
use crate::ledger::{AcceptedRelease, Ledger, LedgerError, ReleasedBy};

/// Why the node was not cleaned up.
#[derive(Debug, Error)]
pub enum CleanupError {
    /// The release cannot be written to the ledger.
    #[error("the release cannot be written to the ledger, so nothing was removed")]
    Ledger(#[source] LedgerError),
    /// The node was not released.
    #[error(
        "this node was not released, so its guard stays: apply a signed release, run `postern-agent release --reason ...` as root, or, where no agent is left, `postern-agent cleanup --release --reason ...`"
    )]
    NotReleased,
    /// The agent still runs.
    #[error("an agent still answers on {0}: stop it first")]
    AgentRuns(PathBuf),
    /// A part of the host cannot be read.
    #[error("the host cannot be read")]
    Unread(#[source] Unread),
    #[error("{step} failed")]
    Step {
        step: String,
        #[source]
        source: HostError,
    },
    /// The memory of the uplinks cannot be read; it stays, and so do the links.
    #[error("it cannot be read how the links were before the isolation, so they stay as they are")]
    Uplinks(#[source] FileError),
    /// A file cannot be removed.
    #[error("cannot remove {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Removes everything of ours from the host, with a reason to release it where nobody did: routes and rules, devices, locks, the tables, the run folder's files. The
/// state folder stays: it holds the release.
///
/// # Errors
/// [`CleanupError`].
pub async fn cleanup(
    host: &impl Host,
    state_dir: &Path,
    run_dir: &Path,
    release: Option<&str>,
) -> Result<Vec<String>, CleanupError> {
    let socket = run_dir.join("agent.sock");
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        return Err(CleanupError::AgentRuns(socket));
    }
    let (mut ledger, _) = Ledger::open(state_dir);
    match release {
        _ if ledger.entries().release.is_some() => {}
        Some(reason) => release_by_root(&mut ledger, reason)?,
        None => return Err(CleanupError::NotReleased),
    }
    let mut reading = observe(host).await;
    reading.go_without_locks();
    let observed = reading.whole().map_err(CleanupError::Unread)?;
    let mut done = Vec::new();
    for step in teardown(&observed, &ledger.entries().tunnel_ranges()) {
        let applied = apply(host, std::slice::from_ref(&step)).await;
        if let Some(failed) = applied.failed {
            // A kernel may have no way to ask connection tracking. Nothing of a pod leaves by these flows: they are answers of
            // the world to clients that are gone.
            if matches!(failed.step, Step::CutFlows(_)) {
                done.push(format!("not done: {}: {}", failed.step, failed.error));
                continue;
            }
            return Err(CleanupError::Step {
                step: failed.step.to_string(),
                source: failed.error,
            });
        }
        done.push(step.to_string());
    }
    let kept = crate::isolation::read_file(state_dir).map_err(CleanupError::Uplinks)?;
    let restored = crate::isolation::let_go(host, &kept, state_dir).await;
    let restored = restored.map_err(|source| CleanupError::Step {
        step: "bringing the uplinks back to what they were".to_owned(),
        source,
    })?;
    done.extend(restored.iter().map(ToString::to_string));
    for name in ["agent.sock", "tunnels", "wireguard", "departed"] {
        done.extend(remove(&run_dir.join(name))?);
    }
    Ok(done)
}

/// In the ledger before anything opens, as where an agent does it.
fn release_by_root(ledger: &mut Ledger, reason: &str) -> Result<(), CleanupError> {
    let record = AcceptedRelease {
        serial: ledger.entries().serial,
        reason: reason.to_owned(),
        at: Timestamp::now(),
        by: ReleasedBy::RootWithoutAgent,
    };
    let recorded = ledger.record(|entries| entries.release = Some(record));
    recorded.map_err(CleanupError::Ledger)
}

fn remove(path: &Path) -> Result<Option<String>, CleanupError> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Ok(()) => Ok(Some(format!("remove {}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CleanupError::File {
            path: path.to_owned(),
            source,
        }),
    }
}
