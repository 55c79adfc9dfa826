//! Envelopes that were published, as an input of the next compile.

use std::collections::BTreeMap;
use std::path::Path;

use postern_intent::envelope::unpack;
use postern_intent::verify::{Context, parse_envelope, verify_intent};
use postern_intent::{Body, Envelope, KeySet, NodeName, Verified};

use super::error::FilesError;
use super::write::{entries, read_optional};

/// An envelope with its body and its exact bytes.
#[derive(Debug, Clone)]
pub struct Published {
    /// The verified body.
    pub body: Body,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// Reads `<node>/intent.dsse.json` of every node below a folder. What no trusted key signed, or what is another
/// node's, does not count as published.
///
/// # Errors
/// [`FilesError::Read`].
pub fn read_envelopes(
    folder: &Path,
    keys: &KeySet,
) -> Result<BTreeMap<NodeName, Published>, FilesError> {
    let mut found = BTreeMap::new();
    for path in entries(folder)? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<NodeName>().ok());
        let (Some(node), Some(bytes)) = (name, read_optional(&path.join("intent.dsse.json"))?)
        else {
            continue;
        };
        if let Some(body) = parse_envelope(&bytes)
            .ok()
            .and_then(|envelope| open_envelope(&envelope, keys))
            && body.get().node.name == node
        {
            found.insert(
                node,
                Published {
                    body: body.get().clone(),
                    bytes,
                },
            );
        }
    }
    Ok(found)
}

/// Opens an envelope of our own, expired ones too: the question is what was said, not whether it is still in force.
#[must_use]
pub fn open_envelope(envelope: &Envelope, keys: &KeySet) -> Option<Verified<Body>> {
    let json = unpack(&envelope.payload_bytes().ok()?).ok()?;
    let said: Body = serde_json::from_slice(&json).ok()?;
    let context = Context {
        node: &said.node,
        keys,
        now: said.issued_at,
        last: None,
    };
    verify_intent(envelope, &context).ok()
}

/// Of two copies of each node's envelope the one with the higher serial.
pub(super) fn newest(
    copies: BTreeMap<NodeName, Published>,
    shown: BTreeMap<NodeName, Published>,
) -> BTreeMap<NodeName, Published> {
    let mut newest = copies;
    for (node, published) in shown {
        let older = newest
            .get(&node)
            .is_none_or(|copy| copy.body.serial < published.body.serial);
        if older {
            newest.insert(node, published);
        }
    }
    newest
}
