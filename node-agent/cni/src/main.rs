//! `postern-cni`: called by the container runtime with the verb in the environment and the
//! network configuration on stdin (CNI specification 1.1.0, section 2). A runtime passes no
//! arguments; with some, it installs or removes itself.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use postern_cni::{
    CniError, Environment, ErrorReport, Outcome, SpecVersion,
    install::{Command, Done, InstallError},
    run,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        serve_runtime()
    } else {
        obey(&arguments)
    }
}

/// A person or the init container of the agent's DaemonSet calls.
fn obey(arguments: &[String]) -> ExitCode {
    let command = Command::parse(arguments);
    match command.and_then(|command| command.run(&mut |text| eprintln!("postern-cni: {text}"))) {
        Ok(done) => {
            for one in done {
                match one {
                    Done::Changed(path) => eprintln!("postern-cni: {} changed", path.display()),
                    Done::Unchanged(path) => eprintln!("postern-cni: {} is right", path.display()),
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("postern-cni: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn chain(error: &InstallError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn serve_runtime() -> ExitCode {
    let environment = Environment::from_lookup(|name| std::env::var(name).ok());
    let mut input = Vec::new();
    let outcome = match std::io::stdin().lock().read_to_end(&mut input) {
        Ok(_) => run(&environment, &input),
        Err(source) => Err(ErrorReport::new(
            SpecVersion::LATEST,
            &CniError::Input { source },
        )),
    };
    let (text, code) = match outcome {
        Ok(Outcome::Silent) => (String::new(), ExitCode::SUCCESS),
        Ok(Outcome::Print(text)) => (text, ExitCode::SUCCESS),
        Err(report) => (report.to_json(), ExitCode::FAILURE),
    };
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => code,
        // A runtime that does not read its answer must not take it for a success.
        Err(_) => ExitCode::FAILURE,
    }
}
