//! What can go wrong with files.

use std::io;
use std::path::PathBuf;

use postern_compile::intake::IntakeError;
use postern_compile::publish::DocumentSignError;
use postern_intent::DocumentRefusal;
use thiserror::Error;

use crate::schema::SchemaError;

/// Why a run published nothing. What is published stays in force.
#[derive(Debug, Error)]
pub enum FilesError {
    /// A file or folder cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{path:?} cannot be written")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file is no YAML.
    #[error("{path:?} is not valid YAML")]
    Yaml {
        path: PathBuf,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A document is no object of its kind.
    #[error("document {document} of {path:?} is no valid {kind}")]
    Document {
        path: PathBuf,
        /// Which of its documents, from 1.
        document: usize,
        /// The kind that it says it is.
        kind: String,
        #[source]
        source: serde_json::Error,
    },
    /// A field that nobody knows.
    #[error(
        "document {document} of {path:?}: {kind} has no field `{field}`; correct its name or leave it out"
    )]
    Unknown {
        path: PathBuf,
        /// Which of its documents, from 1.
        document: usize,
        kind: String,
        /// The path of the field.
        field: String,
    },
    /// An object that the definition of its kind refuses.
    #[error("document {document} of {path:?} is refused, as an API server would refuse it")]
    Schema {
        path: PathBuf,
        /// Which of its documents, from 1.
        document: usize,
        #[source]
        source: SchemaError,
    },
    /// Our own definitions have no JSON form.
    #[error("the fields of the definitions cannot be listed")]
    Definitions(#[source] serde_json::Error),
    /// A published envelope does not count: without it nobody can say what would be loosened.
    #[error(
        "a published envelope does not count; put it back from a backup, or name the key that signed it with --trust, or \
         move it away if it is lost for good: a node whose report is there then waits for an approval"
    )]
    Envelope(#[source] EnvelopeError),
    /// There are published envelopes and no state.
    #[error(
        "envelopes are published, but the state {path:?} is missing, which says whom policies select and what waits; put it \
         back from a backup; if it is lost for good, write {{}} into it, and what nobody can tell any more waits for an \
         approval"
    )]
    StateLost { path: PathBuf },
    /// Two documents are about one object.
    #[error("{object} stands twice in the manifests, the second time in {path:?}")]
    Duplicate {
        /// Kind, namespace and name.
        object: String,
        /// The file of the second one.
        path: PathBuf,
    },
    /// An object without what every object has.
    #[error("an object cannot be taken in")]
    Intake(#[source] IntakeError),
    /// The state or another file of our own is damaged.
    #[error("{path:?} is damaged")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// Something cannot be written as JSON.
    #[error("the content of {path:?} cannot be serialized")]
    Serialize {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A document cannot be signed.
    #[error(transparent)]
    Sign(#[from] DocumentSignError),
}

impl From<IntakeError> for FilesError {
    fn from(error: IntakeError) -> Self {
        Self::Intake(error)
    }
}

/// Why an envelope that is there does not count.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// The file cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It does not verify.
    #[error("{path:?} is refused")]
    Refused {
        path: PathBuf,
        #[source]
        source: DocumentRefusal,
    },
}
