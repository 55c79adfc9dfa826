//! Signing keys and the trust root.

mod keys;
mod rotation;
mod secret;
mod trust;

pub use keys::{KeyError, KeyRing};
pub use rotation::{Announced, NodeTrust, Rotation, rotate};
pub use secret::{SECRET, Signer, SignerError, Signing};
pub use trust::{TRUST, trust_data};
