//! Running other programs and keeping their output.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::lab::LabError;

/// The command line as a person would type it, for messages.
#[must_use]
pub fn line(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Runs the command to its end and answers its standard output.
///
/// # Errors
/// `Spawn` when it cannot be started, `Command` when it ends with a failure.
pub fn run(command: &mut Command) -> Result<String, LabError> {
    let output = output(command, None)?;
    checked(command, &output)
}

/// Runs the command with this text on its standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String, LabError> {
    let output = output(command, Some(input))?;
    checked(command, &output)
}

/// Runs the command to its end and returns its output, whether it succeeded or not.
///
/// # Errors
/// `Spawn` when it cannot be started or its pipes break.
pub fn output(command: &mut Command, input: Option<&str>) -> Result<Output, LabError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let spawn = |source| LabError::Spawn {
        program: program.clone(),
        source,
    };
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(spawn)?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ends without reading its input closes the pipe; its exit status says more than EPIPE would.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait_with_output().map_err(spawn)
}

fn checked(command: &Command, output: &Output) -> Result<String, LabError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Command {
        command: line(command),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
