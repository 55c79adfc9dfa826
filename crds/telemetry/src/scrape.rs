//! `/metrics` alone, at an address that others reach, for a Prometheus that runs elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, extract};
use clap::Args;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::chain;
use crate::health::{ServeError, exposition};

/// Time between two attempts at an address that is taken or not on the node yet.
const RETRY: Duration = Duration::from_secs(10);

/// Where a Prometheus of the cluster reads the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ScrapeArguments {
    /// Address at which `/metrics` alone is served to others, without encryption and authentication; none: to nobody but the
    /// node itself.
    #[arg(long, value_name = "IP", requires = "scrape_port")]
    pub scrape_address: Option<IpAddr>,
    /// Port at that address.
    #[arg(long, value_name = "PORT", requires = "scrape_address")]
    pub scrape_port: Option<u16>,
}

impl ScrapeArguments {
    const fn socket(self) -> Option<SocketAddr> {
        match (self.scrape_address, self.scrape_port) {
            (Some(address), Some(port)) => Some(SocketAddr::new(address, port)),
            _ => None,
        }
    }
}

/// Serves `/metrics` and never ends; without an address it waits. An address that is taken, as by another replica on the same
/// host, is tried again: metrics are no reason for a program to end.
pub async fn serve_scrapes(arguments: ScrapeArguments, registry: Arc<Registry>) {
    let Some(address) = arguments.socket() else {
        return std::future::pending().await;
    };
    let mut is_reported = false;
    loop {
        let served = serve(address, Arc::clone(&registry)).await;
        if let Some(error) = served.err().filter(|_| !is_reported) {
            warn!(
                error = chain(&error),
                "no metrics are served to others; this is tried again every 10 s"
            );
            is_reported = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn serve(address: SocketAddr, registry: Arc<Registry>) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { address, source })?;
    info!(%address, "metrics are served to others");
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(registry);
    axum::serve(listener, router)
        .await
        .map_err(|source| ServeError::Listen { source })
}

async fn metrics(extract::State(registry): extract::State<Arc<Registry>>) -> impl IntoResponse {
    exposition(&registry)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, page: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {page} HTTP/1.0\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn others_get_the_metrics_and_nothing_else_and_without_an_address_nothing_at_all() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let arguments = ScrapeArguments {
            scrape_address: Some(address.ip()),
            scrape_port: Some(address.port()),
        };
        let asked = async {
            while ask(address, "/metrics").await.is_err() {
                tokio::task::yield_now().await;
            }
            assert!(ask(address, "/metrics").await.unwrap().contains("# EOF"));
            let health = ask(address, "/healthz").await.unwrap();
            assert!(health.starts_with("HTTP/1.0 404"), "{health}");
        };
        tokio::select! {
            () = serve_scrapes(arguments, Arc::default()) => panic!("it ended"),
            () = asked => {}
        }
        let nothing = ScrapeArguments {
            scrape_address: None,
            scrape_port: None,
        };
        let ends = serve_scrapes(nothing, Arc::default());
        assert!(tokio::time::timeout(Duration::ZERO, ends).await.is_err());
    }
}
