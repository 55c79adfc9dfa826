//! Every request is counted by verb and code, and what the API server asks for in `Retry-After` is kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::{Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tower::{Layer, Service};

/// The longest wait that a server may ask for: an absurd header must not stop the operator.
const LONGEST: Duration = Duration::from_secs(60);

/// What a request was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// HTTP method.
    verb: String,
    /// HTTP status; `<error>` if there was none.
    code: String,
}

/// Counters of requests, and until when the server wants to be left alone.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    total: Family<RequestLabels, Counter>,
    wait: Arc<Mutex<Option<Instant>>>,
    newest: Arc<AtomicU64>,
}

/// How long the server wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Nothing,
    /// For this time from now on.
    For(Duration),
}

impl Requests {
    /// The family to register.
    #[must_use]
    pub fn total(&self) -> Family<RequestLabels, Counter> {
        self.total.clone()
    }

    /// How long the server wants to be left alone.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Wait {
        let until = *self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        match until.and_then(|until| until.checked_duration_since(now)) {
            Some(rest) if !rest.is_zero() => Wait::For(rest),
            _ => Wait::Nothing,
        }
    }

    /// The newest revision of the store that an answer has shown; none: no answer has shown one.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        match self.newest.load(Ordering::Acquire) {
            0 => None,
            newest => Some(newest),
        }
    }

    /// An answer has shown this resource version. One that is no number says nothing.
    pub fn saw(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|text| text.parse().ok()) {
            self.newest.fetch_max(version, Ordering::AcqRel);
        }
    }

    fn ask_to_wait(&self, seconds: u64) {
        let wait = Duration::from_secs(seconds).min(LONGEST);
        let mut until = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Instant::now().checked_add(wait).max(*until);
    }

    pub(crate) fn count(&self, verb: &str, code: &str) {
        let labels = RequestLabels {
            verb: verb.to_owned(),
            code: code.to_owned(),
        };
        self.total.get_or_create(&labels).inc();
    }
}

/// A client's service that is counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

/// Makes a service a counted one.
#[derive(Debug, Clone)]
pub struct CountedLayer(Requests);

impl Counted<()> {
    /// The layer that counts into `requests`.
    #[must_use]
    pub const fn layer(requests: Requests) -> CountedLayer {
        CountedLayer(requests)
    }
}

impl<S> Layer<S> for CountedLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.0.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = request.method().as_str().to_owned();
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            match &answer {
                Ok(response) => {
                    requests.count(&verb, response.status().as_str());
                    let header = response.headers().get(http::header::RETRY_AFTER);
                    let seconds = header
                        .and_then(|value| value.to_str().ok())
                        .and_then(|text| text.parse().ok());
                    if let Some(seconds) = seconds {
                        requests.ask_to_wait(seconds);
                    }
                }
                Err(_) => requests.count(&verb, "<error>"),
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LONGEST, Requests, Wait};

    #[test]
    fn a_server_that_asks_for_patience_gets_it_and_no_more_than_a_minute() {
        let requests = Requests::default();
        assert_eq!(requests.wait(Instant::now()), Wait::Nothing);
        requests.ask_to_wait(u64::MAX);
        let Wait::For(rest) = requests.wait(Instant::now()) else {
            panic!("it asked for a wait");
        };
        assert!(
            rest <= LONGEST && rest > Duration::from_secs(50),
            "{rest:?}"
        );
        let later = Instant::now() + LONGEST + Duration::from_secs(1);
        assert_eq!(requests.wait(later), Wait::Nothing);
    }
}
