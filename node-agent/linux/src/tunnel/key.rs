//! The private half of a device's key.

use std::fmt;

use postern_intent::WgKey;
use x25519_dalek::{PublicKey, StaticSecret};

/// An X25519 private key. It is shown nowhere, and wiped when it is dropped.
#[derive(Clone)]
pub struct PrivateKey(StaticSecret);

impl PrivateKey {
    /// Takes the 32 bytes of a key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    /// The public half; none if it were of low order, which clamping rules out for every key but by chance of 2^-250.
    #[must_use]
    pub fn public(&self) -> Option<WgKey> {
        WgKey::from_bytes(PublicKey::from(&self.0).to_bytes()).ok()
    }

    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}
