//! Why a run ended early.

use postern_apiserver::{ApiError, Failure};
use postern_compile::publish::DocumentSignError;
use postern_intent::sign::SignError;
use thiserror::Error;

use super::memory::PageError;
use crate::signer::SignerError;

/// Why a run ended early. What was published stays.
#[derive(Debug, Error)]
pub enum PipelineError {
    #[error("this process does not lead any more")]
    NotLeading,
    /// The API server's store went back.
    #[error("the API server's store went back: {resource} have revision {found} after {newest}")]
    WentBack {
        resource: &'static str,
        found: u64,
        /// What it has shown.
        newest: u64,
    },
    /// There is nothing to sign with.
    #[error("the operator cannot sign")]
    Signer(#[source] SignerError),
    #[error("the pipeline's request to the API server failed")]
    Api(#[source] ApiError),
    /// The memory cannot be used.
    #[error("the operator cannot use its memory")]
    Page(#[source] PageError),
    /// The memory cannot be written: without it nothing may be published.
    #[error("the operator cannot write its memory")]
    Memory(#[source] ApiError),
    #[error(transparent)]
    Sign(DocumentSignError),
    #[error("the key set of every node cannot be signed")]
    Announce(#[source] SignError),
    /// A key ring cannot be made.
    #[error("the operator cannot use its keys")]
    Key(#[source] crate::signer::SigningKeyError),
    /// The compiler's thread ended early.
    #[error("the compiler's thread ended early")]
    Compile(#[source] tokio::task::JoinError),
}

impl PipelineError {
    /// Was what was read merely old? Then the next run sees more, and nothing is wrong.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Api(error) | Self::Memory(error) if matches!(error.failure(), Failure::Stale | Failure::Exists))
    }
}
