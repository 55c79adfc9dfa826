//! Names.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::words::ScopeId;

/// What becomes of the names that a scope's pods ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeDns {
    /// The scope.
    pub scope: ScopeId,
    /// What is done.
    pub mode: DnsMode,
    /// Resolvers asked through the exit, in order. Empty: the address that the pod asked if it is outside, else
    /// `REFUSED`.
    pub upstreams: Vec<SocketAddr>,
}

/// What is done with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsMode {
    /// Cluster names to the cluster's resolver, all others through the exit.
    Forward,
    /// Cluster names to the cluster's resolver, all others are refused.
    Block,
}
