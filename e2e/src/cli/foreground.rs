//! Commands with the streams of this program.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use crate::lab::{Exec, Lab, LabError};

/// Runs a command in a namespace of the lab, with the streams of this program.
pub(crate) fn execute(
    lab: &Lab,
    place: Exec<'_>,
    command: &[OsString],
) -> Result<ExitCode, LabError> {
    pass_on(&mut lab.command(place, command)?)
}

/// Runs a command with the streams of this program, and returns its exit code.
pub(crate) fn pass_on(command: &mut Command) -> Result<ExitCode, LabError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|source| LabError::Spawn { program, source })?;
    // A shell reports a signal as 128 and its number.
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
