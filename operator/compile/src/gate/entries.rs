//! Approvals as people keep them in a ConfigMap: one YAML text for each entry.

use std::collections::BTreeMap;

use super::held::{Approval, PendingApproval};

/// The approvals of a ConfigMap by the names of their entries. An entry that cannot be read approves nothing and stops no
/// other.
pub fn read_entries(
    data: &BTreeMap<String, String>,
) -> impl Iterator<Item = (&str, Result<Approval, Box<serde_saphyr::Error>>)> {
    data.iter().map(|(entry, text)| {
        let approval = serde_saphyr::from_str(text).map_err(Box::new);
        (entry.as_str(), approval)
    })
}

impl Approval {
    /// The consent to something that waits.
    #[must_use]
    pub fn of(held: &PendingApproval) -> Self {
        Self {
            subject: held.subject.clone(),
            cause: held.cause,
            digest: held.digest.clone(),
        }
    }
}
