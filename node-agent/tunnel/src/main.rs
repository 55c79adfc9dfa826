//! `postern-tunnel run --run-dir R`: serve the tunnels that the agent asks for until SIGTERM.
//! `postern-tunnel alive --run-dir R`: whether whoever serves them still answers.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use postern_tunnel::{RunDir, run, silent};
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
    /// Ask every tunnel that is served for an answer; fails when one gives none. For the supervisor: a process that hangs
    /// must be ended, and never be let go on.
    Alive {
        /// The folder shared with the agent.
        #[arg(long, env = "POSTERN_RUN_DIR", default_value = "/run/postern")]
        run_dir: PathBuf,
        /// Milliseconds that an answer may take.
        #[arg(long, default_value_t = 2000)]
        patience_milliseconds: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse().verb {
        Verb::Run { run_dir } => serve(&RunDir::new(run_dir)).await,
        Verb::Alive {
            run_dir,
            patience_milliseconds,
        } => {
            let patience = Duration::from_millis(patience_milliseconds);
            alive(&RunDir::new(run_dir), patience).await
        }
    }
}

/// What is said here is what the supervisor shows as the reason.
async fn alive(dir: &RunDir, patience: Duration) -> ExitCode {
    match silent(dir, patience).await {
        Ok(names) if names.is_empty() => ExitCode::SUCCESS,
        Ok(names) => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            eprintln!("postern-tunnel: no answer from {}", names.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            eprintln!("postern-tunnel: {error}: {}", cause.unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

async fn serve(dir: &RunDir) -> ExitCode {
    // Requests carry private keys; gotatun logs them at trace, so its own level is capped here
    // and cannot be raised by the environment.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter(without_key_material(filter))
        .init();
    // Keys are in memory, and a core file is on a disk.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "a crash of the tunnel process may write a core file");
    }
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
    match run(dir, stop).await {
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
