//! `posternctl sign`: sign a document as it is. Hidden, because a document that the compiler did not make may say
//! anything.

use std::path::PathBuf;

use clap::Args;
use postern_intent::envelope::{PayloadType, pack};
use postern_intent::sign::{SignError, sign_bytes};

use super::verify::PayloadKind;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::files::FilesError;
use crate::keys::read_signing_keys;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The document: JSON of a body, a release or a key set. Its bytes are signed as they are.
    document: PathBuf,
    /// What the document is.
    #[arg(long, value_enum, default_value_t = PayloadKind::Intent)]
    kind: PayloadKind,
    /// Signing keys (PEM, PKCS#8).
    #[arg(long, required = true)]
    key: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<VerbAnswer, VerbError> {
    let path = &arguments.document;
    let json = std::fs::read(path).map_err(|source| FilesError::Read {
        path: path.clone(),
        source,
    })?;
    let keys = read_signing_keys(&arguments.key)?;
    let packed = || pack(&json).map_err(|error| VerbError::Sign(SignError::Pack(error)));
    let (kind, payload) = match arguments.kind {
        PayloadKind::Intent => (PayloadType::Intent, packed()?),
        PayloadKind::Cluster => (PayloadType::Cluster, packed()?),
        PayloadKind::Release => (PayloadType::Release, json),
        PayloadKind::Keyset => (PayloadType::KeySet, json),
    };
    let envelope = sign_bytes(kind, &payload, &keys).map_err(VerbError::Sign)?;
    let text = serde_json::to_string(&envelope).map_err(|source| VerbError::Document {
        path: path.clone(),
        source,
    })?;
    Ok(VerbAnswer {
        text,
        end: VerbEnd::Well,
    })
}
