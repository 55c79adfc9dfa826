//! The trust root as the agents mount it. Pure.

use std::collections::BTreeMap;

use postern_intent::KeyId;

/// Name of the ConfigMap with the public keys.
pub const TRUST: &str = "postern-trust";

/// The content that belongs to public keys: `<key id>.pem`.
#[must_use]
pub fn trust_data(public: &BTreeMap<KeyId, String>) -> BTreeMap<String, String> {
    public
        .iter()
        .map(|(id, pem)| (format!("{id}.pem"), pem.clone()))
        .collect()
}
