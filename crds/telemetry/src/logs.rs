//! Logs: one JSON object a line on standard error, levels by `POSTERN_LOG` (the syntax of `tracing`'s filters).

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum LogError {
    /// Another subscriber is there.
    #[error("logs were started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts the process log.
///
/// # Errors
/// [`LogError::Twice`].
pub fn start_logs() -> Result<(), LogError> {
    tracing_subscriber::registry()
        .with(filter())
        .with(lines())
        .try_init()
        .map_err(LogError::Twice)
}

pub(crate) fn filter() -> EnvFilter {
    EnvFilter::try_from_env("POSTERN_LOG").unwrap_or_else(|_| EnvFilter::new("info"))
}

pub(crate) fn lines<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
}
