//! The UID of this node, from the agent's token. It is remembered, so that a start without a token uses the ledger of this
//! node again.

use std::path::Path;

use postern_apiserver::Endpoint;
use postern_intent::newtypes::NewtypeError;
use postern_intent::{NodeName, Uid};

use super::client;
use super::error::AgentApiError;
use super::token;
use crate::files::{self, Readers};

/// The UID of no node: no document is for it, and so the node stays sealed until its UID is known.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const FILE: &str = "node-uid";

/// The UID that the token has now.
///
/// # Errors
/// [`AgentApiError`].
pub async fn claimed(endpoint: &Endpoint, own: &NodeName) -> Result<Uid, AgentApiError> {
    let text = client::token(endpoint).await?;
    token::node_uid(&text, own).map_err(AgentApiError::Token)
}

/// The UID to start with: the token's, else the remembered one, else that of no node. A token that is
/// wrong is reported by the task that reads it again, and a UID that cannot be remembered does not delay the seal.
///
/// # Errors
/// [`NewtypeError`] never in practice: the UID of no node is a UID.
pub async fn at_start(
    endpoint: &Endpoint,
    own: &NodeName,
    state_dir: &Path,
) -> Result<Uid, NewtypeError> {
    if let Ok(uid) = claimed(endpoint, own).await {
        remember(state_dir, &uid);
        return Ok(uid);
    }
    remembered(state_dir).map_or_else(|| NOBODY.parse(), Ok)
}

/// Keeps a UID for the next start.
pub(super) fn remember(state_dir: &Path, uid: &Uid) {
    if remembered(state_dir).as_ref() == Some(uid) {
        return;
    }
    let bytes = uid.as_str().as_bytes();
    if let Err(error) = files::write(&state_dir.join(FILE), bytes, Readers::Owner) {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the node's UID cannot be kept for the next start"
        );
    }
}

fn remembered(state_dir: &Path) -> Option<Uid> {
    let bytes = files::read(&state_dir.join(FILE)).unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the node's UID of the last start cannot be read"
        );
        None
    })?;
    String::from_utf8(bytes).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_without_a_token_takes_the_remembered_node_and_never_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::of_node(Some(folder.path().join("missing")));
        let own = "n1".parse().unwrap();
        let first = at_start(&endpoint, &own, folder.path()).await.unwrap();
        assert_eq!(first.as_str(), NOBODY);
        remember(folder.path(), &"u1".parse().unwrap());
        let second = at_start(&endpoint, &own, folder.path()).await.unwrap();
        assert_eq!(second.as_str(), "u1");
    }
}
