//! `postern-agent`.

use std::process::ExitCode;

use clap::Parser as _;
use postern_agent::options::{Cli, Verb};
use postern_telemetry::chain;

mod start;
mod verbs;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.verb {
        Verb::Run(args) => start::run(&args),
        Verb::Status(args) => verbs::status(&args),
        Verb::Preflight(args) => verbs::preflight(&args),
        Verb::Release(args) => verbs::release(&args),
        Verb::Claim(args) => verbs::claim(&args),
        Verb::TrustClock(args) => verbs::trust_clock(&args),
        Verb::TrustKeys(args) => verbs::trust_keys(&args),
        Verb::Explain(args) => verbs::explain(&args),
        Verb::DnsCheck(args) => verbs::dns_check(&args),
        Verb::Cleanup(args) => verbs::cleanup(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("postern-agent: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
