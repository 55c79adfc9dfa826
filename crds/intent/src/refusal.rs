//! Why documents are refused.

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::body::{FORMAT_VERSION, Inconsistency};
use crate::envelope::{ENVELOPE_LIMIT, PayloadError};
use crate::keys::PublicKeyError;
use crate::newtypes::Serial;

/// Why a document was refused. What was in force stays in force.
#[derive(Debug, Error)]
pub enum DocumentRefusal {
    /// The file or field is no envelope.
    #[error("the envelope is not JSON of the expected form")]
    Malformed(#[source] serde_json::Error),
    /// The file or field is larger than any envelope may be.
    #[error("the envelope has more than {ENVELOPE_LIMIT} bytes")]
    Oversized,
    /// The payload's media type is not the expected one.
    #[error("payload type {found:?}, expected {expected:?}")]
    PayloadType {
        found: String,
        expected: &'static str,
    },
    /// No signature is by a key that this node trusts.
    #[error("none of the signing keys {} is trusted here", .found.join(", "))]
    UnknownKey {
        /// The key ids of the envelope.
        found: Vec<String>,
    },
    /// A trusted key is named, but the signature is not its own.
    #[error("the signature is not valid")]
    BadSignature,
    /// The payload cannot be decoded or unpacked.
    #[error("the payload cannot be read")]
    Payload(#[source] PayloadError),
    /// It unpacks to more than the limit.
    #[error("the payload unpacks to more than the limit")]
    TooLarge,
    /// The payload is signed but not understood: an unknown field or class, or a broken word.
    #[error("the document is not understood")]
    NotUnderstood(#[source] serde_json::Error),
    /// The body is of another format.
    #[error(
        "the document has format {found}, and this agent reads format {FORMAT_VERSION}: upgrade it"
    )]
    FormatVersion {
        /// The format of the body.
        found: u32,
    },
    /// The body contradicts itself.
    #[error("the body contradicts itself")]
    Inconsistent(#[source] Inconsistency),
    /// It is for another node.
    #[error("it is for node {found}, this is {own}")]
    WrongNode { found: String, own: String },
    /// It is for an earlier or later node of the same name.
    #[error("it is for node UID {found}, this is {own}")]
    WrongNodeUid { found: String, own: String },
    /// Its time is over.
    #[error("it was valid until {not_after}, now is {now}")]
    Expired {
        /// The end of its validity.
        not_after: Timestamp,
        /// What was taken for now.
        now: Timestamp,
    },
    /// It was issued in the future.
    #[error("it was issued at {issued_at}, now is {now}")]
    FromTheFuture {
        /// When it says it was issued.
        issued_at: Timestamp,
        /// What was taken for now.
        now: Timestamp,
    },
    /// An older document than the last one.
    #[error("serial {found} is below {last}")]
    Replayed { found: Serial, last: Serial },
    /// Another document with the same serial: somebody signs twice.
    #[error("serial {serial} was seen with digest {last}, now with {found}")]
    Equivocation {
        serial: Serial,
        /// The digest of the accepted one.
        last: String,
        /// The digest of this one.
        found: String,
    },
    /// The node's document needs a newer cluster document than the node has.
    #[error(
        "it needs the cluster document of serial {needed} or a newer one, and the node has {}",
        .found.map_or_else(|| "none".to_owned(), |serial| serial.to_string())
    )]
    ClusterAwaited {
        needed: Serial,
        /// The newest one that the node has.
        found: Option<Serial>,
    },
    /// The cluster document was made after the store was set back, and the node's document before.
    #[error(
        "it names the cluster document of serial {named}, and the one that is there goes on from {follows} only: the \
         store was set back in between, and a newer document for this node waits for a person"
    )]
    FormerLineage {
        named: Serial,
        /// [`ClusterDocument::follows`].
        follows: Serial,
    },
    /// A key set that is not newer than the pinned one.
    #[error("key set version {found} is not above {pinned}")]
    KeySetVersion { found: u64, pinned: u64 },
    /// A key set with a key that cannot be used, or with none.
    #[error("the key set cannot be used")]
    KeySet(#[source] PublicKeyError),
    /// A key set without keys would lock the node out for ever.
    #[error("the key set is empty")]
    EmptyKeySet,
}

impl DocumentRefusal {
    /// Could the same bytes be good a moment later: when the clock was put right, or when the key's document came?
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::FromTheFuture { .. }
                | Self::UnknownKey { .. }
                | Self::ClusterAwaited { .. }
                | Self::FormerLineage { .. }
        )
    }

    /// The reason as conditions, audit log and metrics name it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "Malformed",
            Self::PayloadType { .. } => "PayloadType",
            Self::UnknownKey { .. } => "UnknownKey",
            Self::BadSignature => "BadSignature",
            Self::Payload(_) => "BadPayload",
            Self::Oversized | Self::TooLarge => "TooLarge",
            Self::NotUnderstood(_) => "NotUnderstood",
            Self::FormatVersion { .. } => "FormatVersion",
            Self::Inconsistent(_) => "Inconsistent",
            Self::WrongNode { .. } => "WrongNode",
            Self::WrongNodeUid { .. } => "WrongNodeUid",
            Self::Expired { .. } => "Expired",
            Self::FromTheFuture { .. } => "FromTheFuture",
            Self::Replayed { .. } => "Replayed",
            Self::Equivocation { .. } => "Equivocation",
            Self::ClusterAwaited { .. } => "ClusterAwaited",
            Self::FormerLineage { .. } => "FormerLineage",
            Self::KeySetVersion { .. } => "KeySetVersion",
            Self::KeySet(_) => "BadKeySet",
            Self::EmptyKeySet => "EmptyKeySet",
        }
    }
}

/// A digest and reason in one line for logs and reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalRecord {
    /// [`DocumentRefusal::reason`].
    pub reason: &'static str,
    /// The refusal and its causes, outermost first.
    pub message: String,
}

impl From<&DocumentRefusal> for RefusalRecord {
    fn from(refusal: &DocumentRefusal) -> Self {
        let mut message = refusal.to_string();
        let mut source = std::error::Error::source(refusal);
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self {
            reason: refusal.reason(),
            message,
        }
    }
}
