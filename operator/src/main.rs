//! `postern-operator`.

use std::process::ExitCode;

use clap::Parser as _;
use postern_operator::error::chain;
use postern_operator::options::{Cli, Verb};
use postern_operator::program;

fn main() -> ExitCode {
    let Verb::Run(arguments) = Cli::parse().verb;
    match program::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-operator: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
