//! `posternctl`.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use posternctl::verbs::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(answer) => {
            // A closed pipe, as of `| head`, is no failure of the verb.
            let _ = writeln!(std::io::stdout(), "{}", answer.text);
            answer.end.into()
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "posternctl: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, outermost first.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
