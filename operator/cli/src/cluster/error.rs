//! What can go wrong with a cluster, and what to do about it.

use kube::core::Status;
use postern_apiserver::{ConnectError, DEADLINE, NoAnswer};
use postern_crds::names::{APPROVALS_CONFIG_MAP, HELD_ENTRY, MEMORY_CONFIG_MAP};
use thiserror::Error;

use super::request::ResourceRequest;

/// Why the cluster did not do what was asked for.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Nothing can wait for an answer.
    #[error("the system gives no way to wait for an answer")]
    Runtime(#[source] std::io::Error),
    /// There is no client.
    #[error(transparent)]
    Connect(ConnectError),
    /// The API server does not know who asks.
    #[error(
        "the API server does not take the kubeconfig's credentials: get new ones, or use another --context"
    )]
    Unauthorized(#[source] Box<Status>),
    /// The right is missing.
    #[error("the right to {act} is missing; who administers the cluster can bind {}", act.role())]
    Forbidden {
        act: ResourceRequest,
        /// In the API server's words.
        #[source]
        source: Box<Status>,
    },
    /// There is no such namespace.
    #[error(
        "there is no namespace {namespace}: Postern is not installed in this cluster, or --namespace has to name another one"
    )]
    NotInstalled { namespace: String },
    /// The API server does not know one of our kinds.
    #[error(
        "the API server knows no {resource}: Postern is not installed in this cluster, or its definitions were deleted"
    )]
    NotDefined {
        /// The resource with its group.
        resource: String,
    },
    /// The operator has left no memory.
    #[error(
        "namespace {namespace} has no ConfigMap {MEMORY_CONFIG_MAP} with an entry {HELD_ENTRY}: no operator has decided \
         anything there yet; look at `kubectl -n {namespace} get pods`, or name another --namespace"
    )]
    NothingDecided { namespace: String },
    /// What waits cannot be read.
    #[error(
        "entry {HELD_ENTRY} of ConfigMap {MEMORY_CONFIG_MAP} is not understood; is this program as new as the operator?"
    )]
    Held(#[source] serde_json::Error),
    /// There was no answer in time.
    #[error(
        "the API server was asked to {act} and did not answer within {DEADLINE:?}; try again, nothing is done twice"
    )]
    Late { act: ResourceRequest },
    /// The API server could not be reached.
    #[error("the API server could not be asked to {act}")]
    Unreachable {
        act: ResourceRequest,
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server refused for another reason.
    #[error("the API server refused to {act}")]
    Refused {
        act: ResourceRequest,
        #[source]
        source: Box<Status>,
    },
    /// Others were always faster.
    #[error(
        "ConfigMap {APPROVALS_CONFIG_MAP} was changed by somebody else in each of {attempts} attempts; nothing was approved, \
         try again"
    )]
    Overtaken {
        /// How often it was tried.
        attempts: usize,
    },
    /// Approvals cannot be written.
    #[error("the approval cannot be written as YAML")]
    Yaml(#[source] serde_saphyr::SerializeError),
}

impl ClusterError {
    /// What a request without an answer means.
    pub(super) fn of(act: ResourceRequest, problem: NoAnswer) -> Self {
        let error = match problem {
            NoAnswer::Late => return Self::Late { act },
            NoAnswer::Failed(error) => *error,
        };
        match error {
            kube::Error::Api(source) => match source.code {
                401 => Self::Unauthorized(source),
                403 => Self::Forbidden { act, source },
                _ => Self::Refused { act, source },
            },
            other => Self::Unreachable {
                act,
                source: Box::new(other),
            },
        }
    }

    /// The code of an answer that is neither success nor a missing right.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { source, .. } => Some(source.code),
            _ => None,
        }
    }
}
