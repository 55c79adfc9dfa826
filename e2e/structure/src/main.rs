//! `postern-structure [--notes]`: checks the workspace that it is run in, prints what it found and
//! ends with 1 when a rule is broken.

use std::process::ExitCode;

use postern_structure::{Detail, Severity, check_all, load, render};

fn main() -> ExitCode {
    let detail = match std::env::args().nth(1).as_deref() {
        None => Detail::Failures,
        Some("--notes") => Detail::All,
        Some(_) => {
            eprintln!("usage: postern-structure [--notes]");
            return ExitCode::from(2);
        }
    };
    let workspace = match load() {
        Ok(workspace) => workspace,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(current) = cause {
                eprintln!("structure: {current}");
                cause = current.source();
            }
            return ExitCode::from(2);
        }
    };
    let findings = check_all(&workspace);
    println!("{}", render(&workspace, &findings, detail));
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Fail)
    {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
