//! `postern-tunnel run --run-dir R`: serve the tunnels that the agent asks for until SIGTERM.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use postern_tunnel::{RunDir, run};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Serves userspace WireGuard devices that the agent names.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve every tunnel that has a request file, until SIGTERM or SIGINT.
    Run {
        /// The folder shared with the agent; requests are read from `tunnels/`, sockets are made in `wireguard/`.
        #[arg(long, env = "POSTERN_RUN_DIR", default_value = "/run/postern")]
        run_dir: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Verb::Run { run_dir } = Arguments::parse().verb;
    // Requests carry private keys; gotatun logs them at trace, so its own level is capped here
    // and cannot be raised by the environment.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter(without_key_material(filter))
        .init();
    let (mut terminate, mut interrupt) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    match run(&RunDir::new(run_dir), stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "cannot serve tunnels");
            ExitCode::FAILURE
        }
    }
}

/// Caps gotatun's UAPI module below the level at which it prints requests.
fn without_key_material(filter: EnvFilter) -> EnvFilter {
    match "gotatun::device::uapi=info".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}
