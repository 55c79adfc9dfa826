//! Why the API server could not be asked, or did not do what it was asked for.

use kube::core::Status;
use postern_apiserver::{ConnectError, DEADLINE, NoAnswer};
use thiserror::Error;

use super::token::TokenError;
use crate::files::FileError;

/// Why the API server could not be asked.
#[derive(Debug, Error)]
pub enum AgentApiError {
    /// There is no client.
    #[error(transparent)]
    Connect(ConnectError),
    /// The credentials are in no file, so that the node's UID is not known.
    #[error("the credentials are not in a token file: give --node-uid")]
    NoTokenFile,
    /// The token file cannot be read.
    #[error("the token cannot be read")]
    TokenFile(#[source] FileError),
    /// The token does not say which node this is.
    #[error("the token does not say which node this is")]
    Token(#[source] TokenError),
    /// The API server answered, and refused.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// The status code of HTTP.
        code: u16,
        message: String,
    },
    /// No answer, or none that is one of the API server.
    #[error("the API server sends no answer that can be read")]
    Unheard(#[source] Box<kube::Error>),
    /// The answer took too long.
    #[error("the API server did not answer within {DEADLINE:?}")]
    Late,
    /// A watch goes on from a list's version, and this list has none.
    #[error("the API server gave a list without a resource version")]
    NoVersion,
    /// The NodeReport is for another node of this name, perhaps an older one.
    #[error(
        "the NodeReport is for the node with UID {found}, and this node has {own}: the operator makes a new one"
    )]
    OtherNode { found: String, own: String },
    /// The agent's report is no JSON.
    #[error("the report cannot be written as JSON")]
    Report(#[source] serde_json::Error),
}

impl AgentApiError {
    /// One word, or the status code, for metrics and for telling a change.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Connect(ConnectError::Account(_)) => "pod",
            Self::Connect(ConnectError::Client(_)) => "client",
            Self::Connect(_) => "kubeconfig",
            Self::NoTokenFile | Self::TokenFile(_) | Self::Token(_) => "token",
            Self::Refused { code, .. } => return code.to_string(),
            Self::Unheard(_) => "unheard",
            Self::Late => "late",
            Self::NoVersion => "no_version",
            Self::OtherNode { .. } => "other_node",
            Self::Report(_) => "report",
        }
        .to_owned()
    }

    /// The API server's status code, where it answered.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Was it the way to the API server, not its answer?
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Unheard(_) | Self::Late)
    }
}

impl From<Status> for AgentApiError {
    fn from(status: Status) -> Self {
        Self::Refused {
            code: status.code,
            message: status.message,
        }
    }
}

impl From<kube::Error> for AgentApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(*status),
            other => Self::Unheard(Box::new(other)),
        }
    }
}

impl From<NoAnswer> for AgentApiError {
    fn from(problem: NoAnswer) -> Self {
        match problem {
            NoAnswer::Late => Self::Late,
            NoAnswer::Failed(error) => Self::from(*error),
        }
    }
}
