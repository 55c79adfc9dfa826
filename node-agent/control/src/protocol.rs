//! What may be asked besides what the plugin asks: one line of JSON each way.

use postern_intent::{Namespace, PodName};
use serde::{Deserialize, Serialize};

use crate::dns_check::DnsCheck;
use crate::explained::PacketTarget;

/// A question to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// The report as it would be written now.
    Status,
    /// Let go of the node. Root only.
    Release { reason: String },
    /// End a release. Root only.
    Claim,
    /// Forget remembered times, because the wall clock is right. Root only.
    TrustClock { reason: String },
    /// Trust the installed keys in place of the pinned ones. Root only.
    TrustKeys { reason: String },
    /// Measure what the forwarder adds to the time of its resolvers. Root only: it asks names as a pod, and grants as for the pod.
    DnsCheck(DnsCheck),
    /// What becomes of the first packet of a connection, by what is in force.
    Explain(ExplainRequest),
}

/// Whose packet goes where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRequest {
    pub namespace: Namespace,
    pub pod: PodName,
    pub target: PacketTarget,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlAnswer {
    pub ok: bool,
    /// Why not, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why not, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<serde_json::Value>,
}

impl ControlAnswer {
    #[must_use]
    pub const fn done() -> Self {
        Self {
            ok: true,
            reason: None,
            message: None,
            status: None,
        }
    }

    /// What was asked for. A value that cannot be written is refused.
    #[must_use]
    pub fn found<T: Serialize>(found: &T) -> Self {
        match serde_json::to_value(found) {
            Ok(status) => Self {
                status: Some(status),
                ..Self::done()
            },
            Err(error) => Self::refused("NotWritten", error.to_string()),
        }
    }

    /// It was not done.
    #[must_use]
    pub fn refused(reason: &str, message: impl Into<String>) -> Self {
        Self {
            ok: false,
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            status: None,
        }
    }
}
