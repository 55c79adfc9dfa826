//! `/metrics`, `/healthz` and `/readyz` on one address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;

/// Is the program ready, and does its loop go on? Shared with whoever knows.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    state: HealthState,
    heartbeat: Option<Heartbeat>,
}

/// The last turn of a loop, and how long the next one may take.
#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    at: Instant,
    limit: Duration,
}

#[derive(Debug, Default)]
enum HealthState {
    Ready,
    #[default]
    NotReady,
    /// With a reason for people.
    Because(String),
}

impl Health {
    /// It is ready from now on.
    pub fn ready(&self) {
        self.record().state = HealthState::Ready;
    }

    /// It is not ready any more.
    pub fn not_ready(&self) {
        self.record().state = HealthState::NotReady;
    }

    /// It is not ready any more; `/readyz` says why.
    pub fn not_ready_because(&self, why: &str) {
        self.record().state = HealthState::Because(why.to_owned());
    }

    /// The loop has just begun a turn; `/healthz` fails once the next one has not begun within this time. A program that
    /// never calls this is alive as long as it answers.
    pub fn heartbeat(&self, limit: Duration) {
        let at = Instant::now();
        self.record().heartbeat = Some(Heartbeat { at, limit });
    }

    /// Is the loop's last turn young enough?
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let heartbeat = self.record().heartbeat;
        heartbeat.is_none_or(|beat| beat.at.elapsed() <= beat.limit)
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.record().state, HealthState::Ready)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing is served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// There is no address to listen on.
    #[error("no address to listen on")]
    NoAddress,
    #[error("the listener broke")]
    Listen {
        #[source]
        source: std::io::Error,
    },
}

#[derive(Clone)]
struct HealthService {
    health: Health,
    registry: Arc<Registry>,
}

impl extract::FromRef<HealthService> for Arc<Registry> {
    fn from_ref(service: &HealthService) -> Self {
        Self::clone(&service.registry)
    }
}

/// Listens on the first of these addresses that is free.
///
/// # Errors
/// [`ServeError::Bind`] for the last one, if none is; [`ServeError::NoAddress`].
pub async fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, ServeError> {
    let mut failed = ServeError::NoAddress;
    for &address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => failed = ServeError::Bind { address, source },
        }
    }
    Err(failed)
}

/// Serves until the task is dropped.
///
/// # Errors
/// [`ServeError::Listen`].
pub async fn serve(
    listener: TcpListener,
    health: Health,
    registry: Arc<Registry>,
) -> Result<(), ServeError> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(HealthService { health, registry });
    axum::serve(listener, router)
        .await
        .map_err(|source| ServeError::Listen { source })
}

async fn healthz(extract::State(served): extract::State<HealthService>) -> impl IntoResponse {
    if served.health.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the loop has not turned for too long\n",
        )
    }
}

async fn readyz(extract::State(served): extract::State<HealthService>) -> impl IntoResponse {
    let refuse = |text| (StatusCode::SERVICE_UNAVAILABLE, text);
    match &served.health.record().state {
        HealthState::Ready => (StatusCode::OK, "ok\n".to_owned()),
        HealthState::NotReady => refuse("not ready\n".to_owned()),
        HealthState::Because(why) => refuse(format!("not ready: {why}\n")),
    }
}

/// Every metric in the text format of OpenMetrics 1.0.
pub(crate) async fn metrics(extract::State(registry): extract::State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_address_that_is_free_is_taken_and_the_last_one_names_the_failure() {
        let taken = listen(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let taken = taken.local_addr().unwrap();
        let next = listen(&[taken, "127.0.0.1:0".parse().unwrap()])
            .await
            .unwrap();
        assert_ne!(next.local_addr().unwrap(), taken);
        let refused = listen(&[taken]).await.unwrap_err();
        assert!(
            refused.to_string().contains(&taken.to_string()),
            "{refused}"
        );
        assert!(matches!(listen(&[]).await, Err(ServeError::NoAddress)));
    }

    #[test]
    fn a_loop_is_alive_until_its_next_turn_is_overdue_and_a_program_without_one_always() {
        let health = Health::default();
        assert!(health.is_alive());
        health.heartbeat(Duration::from_secs(60));
        assert!(health.is_alive());
        health.heartbeat(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        assert!(!health.is_alive());
    }
}
