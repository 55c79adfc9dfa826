//! `/metrics` alone, at an address that others reach, for a Prometheus that runs elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use clap::Args;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::chain;
use crate::health::{ServeError, listen, metrics};

/// Connections at a time, and how long one lasts at most. A scrape takes milliseconds.
const CONNECTIONS: usize = 16;
const LONGEST: Duration = Duration::from_secs(3);
/// Time after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
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
    let listener = listen(&[address]).await?;
    info!(%address, "metrics are served to others");
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(registry);
    let service = TowerToHyperService::new(router);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            // As where no descriptor is left, which passes.
            Err(error) => {
                warn!(error = chain(&error), "a scrape was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Every pod reaches this port: what comes beyond the slots is closed, so that no descriptor is missing elsewhere.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            continue;
        };
        let mut connection = http1::Builder::new();
        let connection = connection.keep_alive(false);
        let served = connection.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            drop(timeout(LONGEST, served).await);
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

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
    }

    #[tokio::test]
    async fn connections_that_ask_nothing_keep_no_slot_and_an_empty_argument_opens_no_port() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let served = serve(address, Arc::default());
        let asked = async {
            let mut idle = Vec::new();
            while idle.len() < 3 * CONNECTIONS {
                match TcpStream::connect(address).await {
                    Ok(stream) => idle.push(stream),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            let now = ask(address, "/metrics").await;
            assert!(
                now.is_err() || now.is_ok_and(|page| page.is_empty()),
                "full"
            );
            let answers = async {
                while !ask(address, "/metrics")
                    .await
                    .is_ok_and(|page| page.contains("# EOF"))
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            timeout(3 * LONGEST, answers)
                .await
                .expect("a slot is free again");
        };
        tokio::select! {
            served = served => panic!("it ended: {served:?}"),
            () = asked => {}
        }
        let nothing = ScrapeArguments {
            scrape_address: None,
            scrape_port: None,
        };
        let ends = serve_scrapes(nothing, Arc::default());
        assert!(timeout(Duration::ZERO, ends).await.is_err());
    }
}
