//! What can go wrong while the workspace is read; broken rules are findings, not errors.

use std::path::PathBuf;

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LintError {
    /// A program that lists files or packages could not be started.
    #[error("`{program}` could not be started")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    /// A program that lists files or packages ended with an error.
    #[error("`{program}` failed: {stderr}")]
    Failed {
        program: String,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// A listed file could not be read.
    #[error("{path} could not be read", path = path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// `cargo metadata` printed something that is not JSON.
    #[error("the output of cargo metadata is not JSON")]
    Metadata {
        #[source]
        source: serde_json::Error,
    },
    /// `cargo metadata` left out a field that every version prints.
    #[error("the output of cargo metadata has no `{field}`")]
    MetadataField { field: &'static str },
}
