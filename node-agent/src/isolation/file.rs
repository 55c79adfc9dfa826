//! What outlives the agent: the memory of a switch, written before each act, and the guard that the first ruleset has.

use std::path::{Path, PathBuf};

use postern_agent_core::isolation::IsolationMemory;
use postern_plan::desired::UplinkGuard;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError, Readers};

/// The file beside the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IsolationFile {
    pub memory: IsolationMemory,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<UplinkGuard>,
}

pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("isolation.json")
}

/// What an earlier agent left.
///
/// # Errors
/// [`FileError`]; the node is then isolated as one that never was.
pub fn read(state_dir: &Path) -> Result<IsolationFile, FileError> {
    let path = path(state_dir);
    let Some(bytes) = files::read(&path)? else {
        return Ok(IsolationFile::default());
    };
    serde_json::from_slice(&bytes).map_err(|source| FileError::Content { path, source })
}

/// What an earlier agent left, for a task that goes on from it. A file that cannot be used is put aside: the node is isolated as
/// one that never was, and [`damage`] says so for as long as that file is there.
pub(super) fn take(state_dir: &Path) -> IsolationFile {
    read(state_dir).unwrap_or_else(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "what is remembered of the uplinks cannot be used");
        if let Err(error) = std::fs::rename(path(state_dir), aside(state_dir)) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the damaged memory of the uplinks cannot be put aside"
            );
        }
        IsolationFile::default()
    })
}

fn aside(state_dir: &Path) -> PathBuf {
    state_dir.join("isolation.json.damaged")
}

/// What is to be done about a memory that an agent could not use; none where there is none.
pub(super) fn damage(state_dir: &Path) -> Option<String> {
    let file = aside(state_dir);
    file.exists().then(|| {
        format!(
            "how links were before the isolation is not known: its end leaves them as they are now. Bring back by hand what {} \
             shows of them, and remove that file",
            file.display()
        )
    })
}

/// Writes it; what holds nothing has no file.
///
/// # Errors
/// [`FileError`].
pub(super) fn write(state_dir: &Path, file: &IsolationFile) -> Result<(), FileError> {
    let path = path(state_dir);
    if *file == IsolationFile::default() {
        return files::remove(&path);
    }
    files::write_json(&path, file, Readers::Owner)
}
