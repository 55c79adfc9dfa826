//! What one run tells the next.

use std::path::Path;

use postern_compile::snapshot::CompilerMemory;
use serde::{Deserialize, Serialize};

use super::error::FilesError;
use super::identity::{Departed, Identities};
use super::write::{read_optional, write_json};

/// The content of `publisher/state.json`. Where it is lost, what only it knows waits for an approval.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublisherState {
    /// What the compiler remembers.
    #[serde(default)]
    pub memory: CompilerMemory,
    /// UIDs and generations of objects that came without.
    #[serde(default)]
    pub identities: Identities,
    /// How often an object of a name went whose UID was made here, so that one that comes back is another one.
    #[serde(default)]
    pub departed: Departed,
}

impl PublisherState {
    /// Reads the state; none if there is none.
    ///
    /// # Errors
    /// [`FilesError::Read`] or [`FilesError::Damaged`].
    pub fn find(path: &Path) -> Result<Option<Self>, FilesError> {
        let Some(json) = read_optional(path)? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&json).map_err(|source| FilesError::Damaged {
            path: path.to_owned(),
            source,
        });
        parsed.map(Some)
    }

    /// Writes the state.
    ///
    /// # Errors
    /// [`FilesError::Write`] or [`FilesError::Serialize`].
    pub fn write(&self, path: &Path) -> Result<(), FilesError> {
        write_json(path, self)
    }
}
