//! `postern-operator`.

use std::process::ExitCode;

use clap::Parser as _;
use postern_operator::error::chain;
use postern_operator::options::{Cli, Verb};
use postern_operator::{ask, program};

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(arguments) => ended(program::run(&arguments)),
        Verb::Ask(arguments) => match ask::ask(&arguments) {
            Ok(body) => {
                print!("{body}");
                ExitCode::SUCCESS
            }
            Err(error) => ended(Err::<(), _>(error)),
        },
    }
}

fn ended<E: std::error::Error>(ended: Result<(), E>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-operator: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
