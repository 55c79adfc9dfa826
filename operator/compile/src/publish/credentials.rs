//! Credentials of external exits between their Secrets and the nodes to which they are encrypted. They pass by the compiler,
//! which sees [`CredentialFacts`] only.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use postern_intent::NodeDocument;
use postern_intent::credential::{CredentialError, ExitCredential, SecretBytes, seal_document};
use postern_intent::sign::SignError;

use crate::snapshot::CredentialFacts;

const PRIVATE_KEY: &str = "privateKey";
const PRESHARED_KEY: &str = "presharedKey";

/// The credentials of the Secrets that exits name, by the Secret's name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CredentialStore {
    known: BTreeMap<String, Result<ExitCredential, String>>,
    unread: BTreeSet<String>,
}

impl CredentialStore {
    /// Takes a Secret in.
    pub fn add(&mut self, name: String, secret: &Secret) {
        let credential = credential(secret);
        let credential = credential.and_then(|found| found.public_key().map(|_| found));
        let credential = credential.map_err(|error| error.to_string());
        self.known.insert(name, credential);
    }

    /// Notes a Secret for which the API server has not answered yet.
    pub fn note_unread(&mut self, name: String) {
        self.unread.insert(name);
    }

    /// What the compiler may know of them.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, CredentialFacts> {
        let facts = |credential: &Result<ExitCredential, String>| match credential {
            Ok(credential) => match credential.public_key() {
                Ok(public_key) => CredentialFacts::Usable {
                    public_key,
                    fingerprint: credential.fingerprint(),
                },
                Err(error) => CredentialFacts::Malformed(error.to_string()),
            },
            Err(why) => CredentialFacts::Malformed(why.clone()),
        };
        let known = self.known.iter();
        let known = known.map(|(name, credential)| (name.clone(), facts(credential)));
        let unread = self.unread.iter().cloned();
        known
            .chain(unread.map(|name| (name, CredentialFacts::Unread)))
            .collect()
    }

    /// Encrypts what a document leaves open.
    ///
    /// # Errors
    /// [`SignError::Credential`].
    pub fn seal(
        &self,
        document: &mut NodeDocument,
        entropy: impl FnMut() -> Option<SecretBytes>,
    ) -> Result<(), SignError> {
        let known = |fingerprint: &str| {
            let mut usable = self.known.values().filter_map(|known| known.as_ref().ok());
            usable.find(|credential| credential.fingerprint() == fingerprint)
        };
        seal_document(document, known, entropy).map_err(SignError::Credential)
    }
}

fn credential(secret: &Secret) -> Result<ExitCredential, CredentialError> {
    let key = |field: &'static str| {
        let text = secret.string_data.as_ref().and_then(|all| all.get(field));
        let bytes = secret.data.as_ref().and_then(|all| all.get(field));
        let bytes = bytes.map(|bytes| str::from_utf8(&bytes.0).unwrap_or_default());
        let text = text.map(String::as_str).or(bytes)?;
        Some(SecretBytes::from_base64(field, text))
    };
    Ok(ExitCredential {
        private_key: key(PRIVATE_KEY).ok_or(CredentialError::Absent { field: PRIVATE_KEY })??,
        preshared_key: key(PRESHARED_KEY).transpose()?,
    })
}
