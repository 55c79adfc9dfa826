//! What one run tells the next.

use std::path::Path;

use postern_compile::snapshot::Memory;
use serde::{Deserialize, Serialize};

use super::error::FilesError;
use super::identity::Identities;
use super::write::{read_optional, write_json};

/// The content of `publisher/state.json`. A lost one loosens nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// What the compiler remembers.
    #[serde(default)]
    pub memory: Memory,
    /// UIDs and generations of objects that came without.
    #[serde(default)]
    pub identities: Identities,
}

impl State {
    /// Reads the state; an empty one if there is none.
    ///
    /// # Errors
    /// [`FilesError::Read`] or [`FilesError::Damaged`].
    pub fn read(path: &Path) -> Result<Self, FilesError> {
        match read_optional(path)? {
            Some(json) => serde_json::from_slice(&json).map_err(|source| FilesError::Damaged {
                path: path.to_owned(),
                source,
            }),
            None => Ok(Self::default()),
        }
    }

    /// Writes the state.
    ///
    /// # Errors
    /// [`FilesError::Write`] or [`FilesError::Serialize`].
    pub fn write(&self, path: &Path) -> Result<(), FilesError> {
        write_json(path, self)
    }
}
