//! The node's keys, for its tunnels and for credentials: made on the node, readable by their owner only, and never sent
//! anywhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_intent::body::NodeIdentity;
use postern_intent::newtypes::NewtypeError;
use postern_intent::possession::{Claim, KeyPurpose, Proof, prove};
use postern_intent::{KeyId, TrustedKeys, WgKey};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::files::{self, FileError, Readers};

/// Why there is no key.
#[derive(Debug, Error)]
pub enum WireGuardKeyError {
    /// The file cannot be read or written.
    #[error("the key's file cannot be kept")]
    File(#[source] FileError),
    /// The file holds no key.
    #[error("the key's file holds no base64 of 32 bytes")]
    Content,
    /// The kernel gave no randomness.
    #[error("no randomness for a new key")]
    Random(#[source] getrandom::Error),
    /// The public half is no usable key.
    #[error("the key's public half cannot be used")]
    Public(#[source] NewtypeError),
}

/// A private key with its public half.
#[derive(Clone)]
pub struct NodeKey {
    /// The 32 bytes of the private half.
    pub private: [u8; 32],
    pub public: WgKey,
    pub purpose: KeyPurpose,
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl NodeKey {
    /// Proves to every key of the set that this key is the node's own. Not kept: keys and the node's UID change while the
    /// agent runs, and a proof costs one multiplication on the curve.
    #[must_use]
    pub fn prove(&self, trusted: &TrustedKeys, node: &NodeIdentity) -> Vec<(KeyId, Proof)> {
        let claim = Claim {
            node: &node.name,
            uid: &node.uid,
            key: &self.public,
            purpose: self.purpose,
        };
        prove(&self.private, trusted, &claim)
    }
}

/// Reads the key, or makes one where there is none. A file that cannot be read or understood is put aside and replaced, and
/// a key that cannot be kept is used for this run: the guard must not wait for a tunnel. The error says what was wrong; a
/// new key carries no tunnel before the intents name it.
///
/// # Errors
/// [`WireGuardKeyError::Random`] and [`WireGuardKeyError::Public`]: no key can be made at all.
pub fn load_or_make(
    folder: &Path,
    purpose: KeyPurpose,
) -> Result<(NodeKey, Option<WireGuardKeyError>), WireGuardKeyError> {
    let stem = match purpose {
        KeyPurpose::WireGuard => "wireguard",
        KeyPurpose::Credentials => "credentials",
    };
    let path = folder.join(format!("{stem}.key"));
    let mut damage = None;
    match load(&path) {
        Ok(Some(private)) => return Ok((with_public(private, purpose)?, None)),
        Ok(None) => {}
        Err(error) => {
            drop(std::fs::rename(
                &path,
                folder.join(format!("{stem}.damaged.key")),
            ));
            damage = Some(error);
        }
    }
    let mut private = [0; 32];
    getrandom::fill(&mut private).map_err(WireGuardKeyError::Random)?;
    let kept = files::write(&path, STANDARD.encode(private).as_bytes(), Readers::Owner);
    let damage = damage.or(kept.map_err(WireGuardKeyError::File).err());
    Ok((with_public(private, purpose)?, damage))
}

fn load(path: &Path) -> Result<Option<[u8; 32]>, WireGuardKeyError> {
    let Some(text) = files::read(path).map_err(WireGuardKeyError::File)? else {
        return Ok(None);
    };
    let text = String::from_utf8(text).map_err(|_| WireGuardKeyError::Content)?;
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|_| WireGuardKeyError::Content)?;
    let private = bytes.try_into().map_err(|_| WireGuardKeyError::Content)?;
    Ok(Some(private))
}

fn with_public(private: [u8; 32], purpose: KeyPurpose) -> Result<NodeKey, WireGuardKeyError> {
    let public = PublicKey::from(&StaticSecret::from(private));
    Ok(NodeKey {
        private,
        public: WgKey::from_bytes(public.to_bytes()).map_err(WireGuardKeyError::Public)?,
        purpose,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (first, damage) = load_or_make(folder.path(), KeyPurpose::WireGuard).unwrap();
        assert!(damage.is_none(), "{damage:?}");
        let (second, _) = load_or_make(folder.path(), KeyPurpose::WireGuard).unwrap();
        assert_eq!(first.public, second.public);
        let mode = std::fs::metadata(folder.path().join("wireguard.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_holds_no_key_is_put_aside_and_said_and_the_next_start_has_the_new_key() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wireguard.key"), "x").unwrap();
        let (first, damage) = load_or_make(folder.path(), KeyPurpose::WireGuard).unwrap();
        assert!(
            matches!(damage, Some(WireGuardKeyError::Content)),
            "{damage:?}"
        );
        assert!(folder.path().join("wireguard.damaged.key").exists());
        let (second, damage) = load_or_make(folder.path(), KeyPurpose::WireGuard).unwrap();
        assert!(damage.is_none(), "{damage:?}");
        assert_eq!(first.public, second.public);
    }
}
