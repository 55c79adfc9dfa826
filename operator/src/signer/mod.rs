//! Signing keys and the trust root.

mod keys;
mod rotation;
mod secret;
mod trust;

pub use keys::{KeyRing, SigningKeyError};
pub use rotation::{AnnouncedKeys, NodeTrust, Rotation, rotate};
pub use secret::{SECRET, Signer, SignerError, SigningKeys};
pub use trust::{TRUST, trust_data};
