//! The session of an external exit: which node has it, and with which credential.

use postern_intent::body::{ServerEndpoint, TunnelRole};
use postern_intent::{Address, ExitName, NodeDocument, NodeName, WgKey};

use super::holder::StandingHolders;
use crate::index::Index;
use crate::snapshot::{CredentialFacts, ExternalTerms, Freshness, SnapshotExit};

/// The session with a server outside of the cluster, from the terms of the exit or, while an update is refused, from what is
/// published.
pub(crate) struct SessionOffer<'a> {
    pub(crate) endpoint: &'a ServerEndpoint,
    pub(crate) server_key: WgKey,
    pub(crate) addresses: Vec<Address>,
    /// The public half of the credential's private key.
    pub(crate) public_key: WgKey,
    pub(crate) fingerprint: &'a str,
    /// The key of the node that has the session, to which the credential is encrypted.
    pub(crate) recipient: WgKey,
}

/// Why no node can have the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionLack {
    /// The Secret of this name does not exist.
    NoSecret(String),
    /// The Secret of this name was not read yet, and no session of the exit is published.
    Unread(String),
    /// The Secret of this name holds no credential, for this reason.
    Malformed { secret: String, why: String },
    /// This node, the first in the order, has reported no key to encrypt the credential to.
    NoRecipient(NodeName),
    /// This node had the session and did not say yet that it let go.
    Held(NodeName),
}

/// Can the node have the session, as far as its reports show?
pub(super) fn can_hold(index: &Index<'_>, exit: &ExitName, node: &NodeName) -> bool {
    let report = index.reports.get(node);
    let is_away =
        report.is_some_and(|report| matches!(report.freshness, Freshness::Old | Freshness::Ahead));
    !is_away && recipient(index, exit, node).is_some()
}

/// The session of an exit on the node that comes first.
pub(super) fn session<'a>(
    index: &Index<'a>,
    holders: &StandingHolders<'_>,
    exit: &SnapshotExit,
    terms: &'a ExternalTerms,
    gateway: &NodeName,
) -> Result<SessionOffer<'a>, SessionLack> {
    let secret = || terms.secret.clone();
    let facts = index.snapshot.credentials.get(&terms.secret);
    let (public_key, fingerprint) = match facts {
        None => return Err(SessionLack::NoSecret(secret())),
        // The published credential stays: an answer that is missing takes no exit away. Only for the same node, because it is
        // encrypted to that one. The exit's own fields of its server count as always.
        Some(CredentialFacts::Unread) => {
            let node = index.nodes.get(gateway);
            let document = index.published.documents.get(gateway);
            let document =
                document.filter(|document| node.is_some_and(|node| node.uid == document.node.uid));
            let published = document.and_then(|document| published_session(document, &exit.name));
            let published = published.map(|published| SessionOffer {
                endpoint: &terms.endpoint,
                server_key: terms.server_key,
                addresses: terms.addresses.clone(),
                ..published
            });
            return published.ok_or_else(|| SessionLack::Unread(secret()));
        }
        Some(CredentialFacts::Malformed(why)) => {
            return Err(SessionLack::Malformed {
                secret: secret(),
                why: why.clone(),
            });
        }
        Some(CredentialFacts::Usable {
            public_key,
            fingerprint,
        }) => (*public_key, fingerprint.as_str()),
    };
    if let Some(holder) = holders.former(index, &exit.name, &[], gateway) {
        return Err(SessionLack::Held(holder.node.clone()));
    }
    let recipient = recipient(index, &exit.name, gateway);
    Ok(SessionOffer {
        endpoint: &terms.endpoint,
        server_key: terms.server_key,
        addresses: terms.addresses.clone(),
        public_key,
        fingerprint,
        recipient: recipient.ok_or_else(|| SessionLack::NoRecipient(gateway.clone()))?,
    })
}

/// The session as a document has it.
pub(super) fn published_session<'a>(
    document: &'a NodeDocument,
    exit: &ExitName,
) -> Option<SessionOffer<'a>> {
    let mut sessions = document.external.iter();
    let session = sessions.find(|session| &session.exit == exit)?;
    let mut tunnels = document.tunnels.iter();
    let tunnel = tunnels.find(|one| (one.role, &one.exit) == (TunnelRole::External, exit))?;
    Some(SessionOffer {
        endpoint: &session.endpoint,
        server_key: tunnel.peers.first()?.public_key,
        addresses: tunnel.addresses.iter().map(|net| net.addr()).collect(),
        public_key: session.public_key,
        fingerprint: &session.credential.fingerprint,
        recipient: session.credential.recipient,
    })
}

/// The key that the node proves in its report. While there is no report, as before an agent's first one after a restore, the
/// one to which its published credential is encrypted.
fn recipient(index: &Index<'_>, exit: &ExitName, node: &NodeName) -> Option<WgKey> {
    if let Some(report) = index.reports.get(node) {
        return report.credentials_key;
    }
    let uid = &index.nodes.get(node)?.uid;
    let document = index.published.documents.get(node)?;
    let is_same = document.node.uid == *uid;
    let mut sessions = document.external.iter();
    let session = sessions.find(|session| &session.exit == exit)?;
    is_same.then_some(session.credential.recipient)
}
