//! An API server that answers by a script.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use postern_operator::lease::{LeaseTerm, TermWriter, term};
use postern_operator::metrics::OperatorMetrics;
use postern_operator::pipeline::publish::Writer;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
}

/// What came so far.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// What the server answers; nothing: it never does.
pub(crate) type Answer = Option<(StatusCode, String)>;

/// A client of a server that answers like this, and what it was asked.
pub(crate) fn server(answer: impl Fn(&Asked) -> Answer + Clone + Send + 'static) -> (Client, Log) {
    let log = Log::default();
    let seen = Arc::clone(&log);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answer) = (Arc::clone(&seen), answer.clone());
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let asked = Asked {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: String::from_utf8_lossy(&bytes).into_owned(),
            };
            seen.lock().unwrap().push(asked.clone());
            let Some((status, text)) = answer(&asked) else {
                return std::future::pending().await;
            };
            let answer = Response::builder()
                .status(status)
                .body(Body::from(text.into_bytes()));
            Ok::<_, tower::BoxError>(answer?)
        }
    });
    (Client::new(service, "default"), log)
}

/// Says back what it was sent.
pub(crate) fn echo(asked: &Asked) -> Answer {
    Some((StatusCode::OK, asked.body.clone()))
}

/// A term that lasts until it is ended.
pub(crate) fn lasting() -> (TermWriter, LeaseTerm) {
    let (leading, reader) = term();
    leading.lead(1, Instant::now(), Duration::from_secs(600));
    (leading, reader)
}

/// Writes in a term that lasts until it is ended.
pub(crate) fn writer(client: Client) -> (Writer, TermWriter) {
    let (leading, term) = lasting();
    (
        Writer::new(client, term, OperatorMetrics::default()),
        leading,
    )
}
