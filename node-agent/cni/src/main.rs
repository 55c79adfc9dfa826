//! `postern-cni`: called by the container runtime with the verb in the environment and the
//! network configuration on stdin (CNI specification 1.1.0, section 2). A runtime passes no
//! arguments; with some, it installs or removes itself.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use postern_cni::{
    CniError, Environment, ErrorReport, SpecVersion, VerbOutput, install::InstallCommand, run,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        serve_runtime()
    } else {
        obey(&arguments)
    }
}

/// A person calls, or the container beside the agent.
fn obey(arguments: &[String]) -> ExitCode {
    let command = InstallCommand::parse(arguments);
    match command.and_then(|command| command.run(&mut |text| eprintln!("postern-cni: {text}"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-cni: {}", error.chain());
            ExitCode::FAILURE
        }
    }
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
        Ok(VerbOutput::Silent) => (String::new(), ExitCode::SUCCESS),
        Ok(VerbOutput::Print(text)) => (text, ExitCode::SUCCESS),
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
