//! Envelopes that were published, as an input of the next compile.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use postern_intent::envelope::unpack;
use postern_intent::verify::{Context, parse_envelope, verify_intent};
use postern_intent::{Body, Envelope, KeySet, NodeName, Refusal, Verified};
use thiserror::Error;

use super::error::FilesError;
use super::write::entries;

/// The file of an envelope in its node's folder.
pub const ENVELOPE: &str = "intent.dsse.json";

/// An envelope with its body and its exact bytes.
#[derive(Debug, Clone)]
pub struct Published {
    /// The verified body.
    pub body: Body,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// The envelopes of a folder.
#[derive(Debug, Default)]
pub struct Envelopes {
    /// Those that count.
    pub good: BTreeMap<NodeName, Published>,
    /// Those that are there and do not, with the reason.
    pub bad: BTreeMap<NodeName, EnvelopeError>,
}

/// Why an envelope that is there does not count.
#[derive(Debug, Error)]
pub enum EnvelopeError {
    /// The file cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not verify.
    #[error("{path:?} is refused")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// It is another node's.
    #[error("{path:?} is for node {found}, not for the one that its folder is named after")]
    Stray {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: NodeName,
    },
}

/// Reads `<node>/intent.dsse.json` of every node below a folder; nothing if there is no such folder.
///
/// # Errors
/// [`FilesError::Read`] if the folder cannot be listed; what is wrong with one envelope is that node's alone.
pub fn read_envelopes(folder: &Path, keys: &KeySet) -> Result<Envelopes, FilesError> {
    let mut found = Envelopes::default();
    for path in entries(folder)?.into_iter().filter(|path| !path.is_file()) {
        // No node is named so, so that nothing can have been published for one.
        let Some(node) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<NodeName>().ok())
        else {
            continue;
        };
        match read(&path.join(ENVELOPE), &node, keys) {
            Ok(Some(published)) => drop(found.good.insert(node, published)),
            Ok(None) => {}
            Err(error) => drop(found.bad.insert(node, error)),
        }
    }
    Ok(found)
}

fn read(path: &Path, node: &NodeName, keys: &KeySet) -> Result<Option<Published>, EnvelopeError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let path = path.to_owned();
            return Err(EnvelopeError::Read { path, source });
        }
    };
    let opened = parse_envelope(&bytes).and_then(|envelope| open_envelope(&envelope, keys));
    let body = opened.map_err(|source| EnvelopeError::Refused {
        path: path.to_owned(),
        source,
    })?;
    if body.get().node.name != *node {
        return Err(EnvelopeError::Stray {
            path: path.to_owned(),
            found: body.get().node.name.clone(),
        });
    }
    let body = body.get().clone();
    Ok(Some(Published { body, bytes }))
}

/// Opens an envelope of our own, expired ones too: the question is what was said, not whether it is still in force.
///
/// # Errors
/// [`Refusal`].
pub fn open_envelope(envelope: &Envelope, keys: &KeySet) -> Result<Verified<Body>, Refusal> {
    let payload = envelope.payload_bytes().map_err(Refusal::Payload)?;
    let json = unpack(&payload).map_err(Refusal::Payload)?;
    let said: Body = serde_json::from_slice(&json).map_err(Refusal::NotUnderstood)?;
    let context = Context {
        node: &said.node,
        keys,
        now: said.issued_at,
        last: None,
    };
    verify_intent(envelope, &context)
}
