//! Which node this is. The token says so; what it said is remembered, so that a start without a token takes up the ledger
//! of this node again.

use std::path::Path;

use postern_apiserver::Endpoint;
use postern_intent::newtypes::NewtypeError;
use postern_intent::{NodeName, Uid};

use super::client;
use super::error::AgentApiError;
use super::token;
use crate::files::{self, Readers};

/// The UID of no node: no document is for it, and so the node stays sealed until somebody says which one it is.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const FILE: &str = "node-uid";

/// What the token says now.
///
/// # Errors
/// [`AgentApiError`].
pub async fn claimed(endpoint: &Endpoint, own: &NodeName) -> Result<Uid, AgentApiError> {
    let text = client::token(endpoint).await?;
    token::node_uid(&text, own).map_err(AgentApiError::Token)
}

/// The UID to start with: the token's, else the remembered one, else that of no node. Whatever is wrong with the token is
/// told by whoever reads it again, and what cannot be remembered is no reason to wait with the seal.
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
