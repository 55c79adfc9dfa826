//! A request has a deadline: whoever waits for an answer for ever decides nothing any more.

use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;

/// The longest time that any single request may take. A watch answers at once with its headers.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no answer that can be used.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// None came in time.
    #[error("the API server did not answer within {DEADLINE:?}")]
    Late,
    /// The API server refused, or could not be reached.
    #[error("the request failed")]
    Failed(#[source] Box<kube::Error>),
}

/// Waits for an answer, not for ever.
///
/// # Errors
/// [`NoAnswer`].
pub async fn in_time<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, NoAnswer> {
    match timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| NoAnswer::Failed(Box::new(error))),
        Err(_) => Err(NoAnswer::Late),
    }
}

#[cfg(test)]
mod tests {
    use super::{NoAnswer, in_time};

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_answered_ends_at_its_deadline() {
        let never = std::future::pending::<Result<(), kube::Error>>();
        assert!(matches!(in_time(never).await, Err(NoAnswer::Late)));
    }
}
