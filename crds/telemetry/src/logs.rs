//! Logs: one JSON object a line on standard error, levels by `POSTERN_LOG` (the syntax of `tracing`'s filters).

use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum LogError {
    /// Another subscriber is there.
    #[error("logs were started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// What is logged unless `POSTERN_LOG` says something else. The Kubernetes client logs each attempt that fails, and the
/// whole body of an answer that it cannot read; whoever asks it says what failed, once a change.
const UNLESS_SAID: &str = "info,kube_client=off,kube_runtime=off";

/// Starts the process log.
///
/// # Errors
/// [`LogError::Twice`].
pub fn start_logs() -> Result<(), LogError> {
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let filter = EnvFilter::try_from_env("POSTERN_LOG");
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(UNLESS_SAID));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(LogError::Twice)
}
