//! The node's tunnel key: made on the node, readable by its owner only, and never sent anywhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_intent::WgKey;
use postern_intent::words::WordError;
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::files::{self, FileError, Readers};

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the tunnel key's file cannot be kept")]
    File(#[source] FileError),
    /// The file holds no key.
    #[error("the tunnel key's file holds no base64 of 32 bytes")]
    Content,
    /// The kernel gave no randomness.
    #[error("no randomness for a new tunnel key")]
    Random(#[source] getrandom::Error),
    /// The public half is no usable key.
    #[error("the tunnel key's public half cannot be used")]
    Public(#[source] WordError),
}

/// A private key with its public half.
#[derive(Clone)]
pub struct NodeKey {
    /// The 32 bytes of the private half.
    pub private: [u8; 32],
    /// The public half.
    pub public: WgKey,
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Reads the key, or makes one where there is none.
///
/// # Errors
/// [`KeyFileError`].
pub fn load_or_make(folder: &Path) -> Result<NodeKey, KeyFileError> {
    let path = folder.join("wireguard.key");
    let private = match files::read(&path).map_err(KeyFileError::File)? {
        Some(text) => {
            let text = String::from_utf8(text).map_err(|_| KeyFileError::Content)?;
            let bytes = STANDARD
                .decode(text.trim())
                .map_err(|_| KeyFileError::Content)?;
            bytes.try_into().map_err(|_| KeyFileError::Content)?
        }
        None => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
            files::write(&path, STANDARD.encode(bytes).as_bytes(), Readers::Owner)
                .map_err(KeyFileError::File)?;
            bytes
        }
    };
    let public = PublicKey::from(&StaticSecret::from(private));
    Ok(NodeKey {
        private,
        public: WgKey::from_bytes(public.to_bytes()).map_err(KeyFileError::Public)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make(folder.path()).unwrap();
        let second = load_or_make(folder.path()).unwrap();
        assert_eq!(first.public, second.public);
        let mode = std::fs::metadata(folder.path().join("wireguard.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
