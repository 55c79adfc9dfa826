//! `posternctl`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use posternctl::output::chain;
use posternctl::verbs::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(answer) => {
            // A closed pipe, as of `| head`, is no failure of the verb.
            if !answer.text.is_empty() {
                let _ = writeln!(std::io::stdout(), "{}", answer.text);
            }
            answer.end.into()
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "posternctl: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
