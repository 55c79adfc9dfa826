//! What every question to the cluster needs.

use kube::Client;

/// A client, and where Postern is.
pub(super) struct NamespaceClient {
    pub(super) client: Client,
    pub(super) namespace: String,
}
