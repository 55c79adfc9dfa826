//! What can fail, and how the specification wants it told.

use std::{error::Error, io, path::PathBuf};

use serde::Serialize;

use crate::{PreviousError, SpecVersion, protocol::CniRefusal, version::UnsupportedVersion};

/// Everything that ends a call with an error.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// Stdin could not be read.
    #[error("cannot read the network configuration")]
    Input {
        #[source]
        source: io::Error,
    },
    /// Stdin is no network configuration.
    #[error("cannot decode the network configuration")]
    Decode {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The configuration has a version that is not supported.
    #[error("the network configuration has another cniVersion")]
    Version {
        #[source]
        source: UnsupportedVersion,
    },
    /// The configuration's version does not have the verb.
    #[error("{verb} does not exist before version {since}")]
    VerbTooNew {
        verb: &'static str,
        /// The version that brought it.
        since: SpecVersion,
    },
    /// The verb is none of the specification's.
    #[error("CNI_COMMAND is {verb:?}")]
    UnknownVerb { verb: String },
    /// A needed variable is not set.
    #[error("{name} is not set")]
    MissingVariable { name: &'static str },
    /// A variable has a value that the specification does not allow.
    #[error("{name} is {value:?}")]
    InvalidVariable { name: &'static str, value: String },
    /// `CNI_ARGS` does not name the pod.
    #[error("CNI_ARGS has no {name}")]
    MissingArgument { name: &'static str },
    /// The plugin stands first in its list.
    #[error("there is no prevResult: this plugin must come after the one that makes the interface")]
    NoPreviousResult,
    /// The result of the plugin before is of no use.
    #[error("the prevResult is of no use")]
    Previous {
        #[source]
        source: PreviousError,
    },
    /// GC without the list of what is still there.
    #[error("there is no cni.dev/valid-attachments")]
    NoValidAttachments,
    /// A relative path depends on where the runtime happens to stand.
    #[error("the socket {} is not an absolute path", path.display())]
    RelativeSocket {
        /// As it stands in the configuration.
        path: PathBuf,
    },
    #[error("no agent answers at {}", path.display())]
    AgentAway {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The agent answered with something else than a response.
    #[error("the agent's answer cannot be decoded")]
    Answer {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// STATUS: the agent cannot serve ADD.
    #[error("no pod can be held on this node now")]
    Unavailable {
        #[source]
        source: Box<CniError>,
    },
    /// The agent said no.
    #[error("{}: {}", refusal.reason, refusal.message)]
    Refused { refusal: CniRefusal },
}

impl CniError {
    /// The code of the CNI specification 1.1.0, section 2, "Error".
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Version { .. } | Self::VerbTooNew { .. } => 1,
            Self::UnknownVerb { .. }
            | Self::MissingVariable { .. }
            | Self::InvalidVariable { .. }
            | Self::MissingArgument { .. } => 4,
            Self::Input { .. } => 5,
            Self::Decode { .. } => 6,
            Self::NoPreviousResult
            | Self::Previous { .. }
            | Self::NoValidAttachments
            | Self::RelativeSocket { .. } => 7,
            Self::AgentAway { .. } | Self::Answer { .. } => 11,
            Self::Unavailable { .. } => 50,
            Self::Refused { refusal } => refusal.code,
        }
    }
}

/// The object that goes to stdout when a call fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    code: u32,
    msg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    details: String,
}

impl ErrorReport {
    /// The message is the error's own; the chain of its causes becomes `details`.
    #[must_use]
    pub fn new(version: SpecVersion, error: &CniError) -> Self {
        let mut details = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            details.push(error.to_string());
            cause = error.source();
        }
        Self {
            cni_version: version.as_str(),
            code: error.code(),
            msg: error.to_string(),
            details: details.join(": "),
        }
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers always serialize; an empty line would still come with exit code 1.
        serde_json::to_string(self).unwrap_or_default()
    }
}
