//! Every request is counted by verb and code, and what the API server asks for in `Retry-After` is kept.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tower::{Layer, Service};

/// The longest wait that a server may ask for: an absurd header must not stop a program.
const LONGEST: Duration = Duration::from_secs(60);

/// What a request was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    verb: String,
    /// HTTP status; `<error>` if there was none.
    code: String,
}

/// Counters of requests, and until when the server wants to be left alone.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    total: Family<RequestLabels, Counter>,
    wait: Arc<Mutex<Option<Instant>>>,
    clock: Arc<Mutex<Option<SignedDuration>>>,
}

/// How long the server wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
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

    /// How far the API server's clock is ahead of the own one, by its last answer; none: no answer had a `Date`.
    #[must_use]
    pub fn clock_difference(&self) -> Option<SignedDuration> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer came with these headers.
    fn answered(&self, headers: &HeaderMap, now: Timestamp) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(seconds) = text(RETRY_AFTER).and_then(|text| text.parse().ok()) {
            self.ask_to_wait(seconds);
        }
        // RFC 9110, section 5.6.7: an HTTP date is one of RFC 5322.
        if let Some(date) = text(DATE).and_then(|text| rfc2822::parse(text).ok()) {
            let difference = date.timestamp().duration_since(now);
            *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(difference);
        }
    }

    fn ask_to_wait(&self, seconds: u64) {
        let wait = Duration::from_secs(seconds).min(LONGEST);
        let mut until = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Instant::now().checked_add(wait).max(*until);
    }

    /// A request was answered with this code, or with no answer.
    pub fn count(&self, verb: &str, code: &str) {
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
                    requests.answered(response.headers(), Timestamp::now());
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

    use http::header::{DATE, HeaderMap, HeaderValue};
    use jiff::{SignedDuration, Timestamp};

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

    #[test]
    fn the_date_of_an_answer_says_how_far_the_clocks_differ() {
        let requests = Requests::default();
        assert_eq!(requests.clock_difference(), None);
        let mut headers = HeaderMap::new();
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert(DATE, date);
        let now: Timestamp = "1994-11-07T14:49:37Z".parse().expect("a time");
        requests.answered(&headers, now);
        let behind = SignedDuration::from_hours(-30);
        assert_eq!(requests.clock_difference(), Some(behind));
    }
}
