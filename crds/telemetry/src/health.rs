//! `/metrics`, `/healthz` and `/readyz` on one address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use thiserror::Error;

/// Whether the program lives and is ready. Shared with whoever knows.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
    /// Until when the program counts as alive; none: it never said, and counts as alive for ever.
    alive_until: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Default)]
enum State {
    Ready,
    #[default]
    NotReady,
    /// With a reason for people.
    Because(String),
}

impl Health {
    /// It is ready from now on.
    pub fn ready(&self) {
        *self.state() = State::Ready;
    }

    /// It is not ready any more.
    pub fn not_ready(&self) {
        *self.state() = State::NotReady;
    }

    /// It is not ready any more; `/readyz` says why.
    pub fn not_ready_because(&self, why: &str) {
        *self.state() = State::Because(why.to_owned());
    }

    /// The program's main loop goes on: `/healthz` says so for this time, and not longer unless the loop says it again.
    pub fn alive_for(&self, time: Duration) {
        let until = Instant::now().checked_add(time);
        *self
            .alive_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_alive(&self, now: Instant) -> bool {
        let until = *self
            .alive_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| now < until)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing is served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The listener broke.
    #[error("the listener on {address} broke")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Clone)]
struct Served {
    health: Health,
    registry: Arc<Registry>,
}

/// Serves until the task is dropped.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    address: SocketAddr,
    health: Health,
    registry: Arc<Registry>,
) -> Result<(), ServeError> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Served { health, registry });
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })?;
    axum::serve(listener, router)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

async fn healthz(extract::State(served): extract::State<Served>) -> impl IntoResponse {
    if served.health.is_alive(Instant::now()) {
        (StatusCode::OK, "ok\n")
    } else {
        let hangs = "the main loop has not gone on for too long\n";
        (StatusCode::SERVICE_UNAVAILABLE, hangs)
    }
}

async fn readyz(extract::State(served): extract::State<Served>) -> impl IntoResponse {
    let refuse = |text| (StatusCode::SERVICE_UNAVAILABLE, text);
    match &*served.health.state() {
        State::Ready => (StatusCode::OK, "ok\n".to_owned()),
        State::NotReady => refuse("not ready\n".to_owned()),
        State::Because(why) => refuse(format!("not ready: {why}\n")),
    }
}

async fn metrics(extract::State(served): extract::State<Served>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &served.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Health;

    #[test]
    fn a_loop_that_hangs_is_not_alive_and_one_that_never_promised_is() {
        let (health, start) = (Health::default(), Instant::now());
        assert!(health.is_alive(start + Duration::from_secs(3600)));
        health.alive_for(Duration::from_secs(60));
        assert!(health.is_alive(start + Duration::from_secs(59)));
        assert!(!health.is_alive(start + Duration::from_secs(62)));
        health.alive_for(Duration::from_secs(120));
        assert!(health.is_alive(start + Duration::from_secs(62)));
    }
}
