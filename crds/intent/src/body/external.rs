//! Sessions with WireGuard servers outside of the cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::newtypes::{ExitName, IfName, Mark, TableId, WgKey};

/// The session of an exit whose server is outside of the cluster. One node at a time has it in its document: two nodes with
/// one key would take the session from each other at the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalSession {
    pub exit: ExitName,
    /// One of [`Mark::EXITS`], numbered per node together with those of used exits.
    pub mark: Mark,
    /// The routing table of the exit on this node.
    pub table: TableId,
    /// `pst-x-*`: the device of the session.
    pub interface: IfName,
    /// Where the server listens. The node resolves a name by its own resolver.
    pub endpoint: ServerEndpoint,
    /// The public half of the credential's private key.
    pub public_key: WgKey,
    pub credential: SealedCredential,
}

/// `host:port` of a server. The host is a name or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerEndpoint {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for ServerEndpoint {
    /// As a user writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A credential that only one node can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedCredential {
    /// The public key that the node has for this purpose alone.
    pub recipient: WgKey,
    /// Which credential it is: another one has another fingerprint.
    pub fingerprint: String,
    /// The encapsulated key and the ciphertext (HPKE, RFC 9180), in base64. Empty only before the document is signed.
    pub sealed: String,
}
