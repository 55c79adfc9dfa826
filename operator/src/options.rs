//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;
use postern_telemetry::ScrapeArguments;

/// The operator of Postern.
#[derive(Debug, Parser)]
#[command(name = "postern-operator", version, about, long_about = None)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Lead or stand by: watch, compile, sign, publish, report.
    Run(RunArguments),
    /// Ask a running operator for a page, as a probe does: fails unless the answer is 200.
    Ask(AskArguments),
}

/// Whom to ask, and for what.
#[derive(Debug, Clone, Args)]
pub struct AskArguments {
    /// The file that the operator wrote its address into.
    #[arg(long, value_name = "FILE")]
    pub listen_file: PathBuf,
    /// The page: `/healthz`, `/readyz` or `/metrics`.
    pub page: String,
}

/// How to run.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// How to reach the API server; default: the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the operator's own objects.
    #[arg(long, env = "POSTERN_NAMESPACE")]
    pub namespace: String,
    /// The administrator's settings (YAML); read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub settings: PathBuf,
    /// This process's name on the lease, for example the pod's name.
    #[arg(long, env = "POSTERN_IDENTITY")]
    pub identity: String,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; of several addresses the first that is free, so that replicas
    /// can share a host's network.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// A file that is written with the address that was free, for `postern-operator ask`.
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub listen_file: Option<PathBuf>,
    /// Metrics for a Prometheus of the cluster.
    #[command(flatten)]
    pub scrape: ScrapeArguments,
    /// Times of the lease.
    #[command(flatten)]
    pub lease: LeaseArguments,
    /// Where traces are sent by OTLP over gRPC without TLS; none: no traces are made.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

/// Times of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct LeaseArguments {
    /// After what time without renewal others may take it.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,
    /// After what time without renewal the leader stops writing and exits.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub renew_deadline: Duration,
    /// Time between two looks at the lease.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub retry_period: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    let positive = Duration::try_from(parsed)
        .ok()
        .filter(|time| !time.is_zero());
    positive.ok_or_else(|| "write a time above zero, for example 15s".to_owned())
}
