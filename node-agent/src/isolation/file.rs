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
