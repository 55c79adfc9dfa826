//! The token, which has the UID of the node, and the trust folder, which has the keys that it trusts. Other programs replace
//! both, so they are read again.

use std::path::PathBuf;
use std::time::Duration;

use postern_apiserver::Endpoint;
use postern_intent::{NodeName, TrustedKeys, Uid};
use postern_telemetry::chain;
use tokio::sync::mpsc;

use super::health::ApiHealth;
use super::identity;
use crate::agent::NodeUpdate;
use crate::trust;

/// The kubelet replaces a projected file within about a minute of its cause: reading more often tells nothing sooner.
const EVERY: Duration = Duration::from_secs(10);

/// The files, with what they said last.
pub(super) struct NodeCredentials {
    pub(super) endpoint: Endpoint,
    pub(super) node: NodeName,
    pub(super) state_dir: PathBuf,
    /// The UID that the agent has; none when the command line gives it and the token is not asked.
    pub(super) uid: Option<Uid>,
    pub(super) trust_dir: Option<PathBuf>,
    pub(super) installed: TrustedKeys,
    pub(super) updates: mpsc::Sender<NodeUpdate>,
}

/// Reads them until the agent ends.
pub(super) async fn run(mut credentials: NodeCredentials, health: ApiHealth) {
    let mut logged = String::new();
    while !credentials.updates.is_closed() {
        credentials.look_at_token(&health).await;
        credentials.look_at_trust(&mut logged).await;
        tokio::time::sleep(EVERY).await;
    }
}

impl NodeCredentials {
    async fn look_at_token(&mut self, health: &ApiHealth) {
        let Some(known) = self.uid.clone() else {
            return;
        };
        match identity::claimed(&self.endpoint, &self.node).await {
            Ok(uid) => {
                health.works();
                if uid != known {
                    tracing::info!(%uid, %known, "the token says which node this is");
                    identity::remember(&self.state_dir, &uid);
                    self.uid = Some(uid.clone());
                    self.tell(NodeUpdate::Node(uid)).await;
                }
            }
            Err(error) => health.failed(&error),
        }
    }

    /// A folder that cannot be used has no keys: the agent gets that as a difference, which takes no key away.
    async fn look_at_trust(&mut self, logged: &mut String) {
        let Some(folder) = &self.trust_dir else {
            return;
        };
        let (keys, trouble) = match trust::in_folder(folder) {
            Ok(keys) => (keys, String::new()),
            Err(error) => (TrustedKeys::default(), chain(&error)),
        };
        if trouble != *logged {
            if !trouble.is_empty() {
                tracing::warn!("{trouble}; the keys in force stay");
            }
            *logged = trouble;
        }
        if keys != self.installed {
            self.installed = keys.clone();
            self.tell(NodeUpdate::InstalledKeys(keys)).await;
        }
    }

    async fn tell(&self, updates: NodeUpdate) {
        // Nobody listens any more only when the agent ends.
        drop(self.updates.send(updates).await);
    }
}
