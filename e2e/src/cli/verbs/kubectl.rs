//! `lab kubectl`: kubectl as the administrator.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::cli::foreground::pass_on;
use crate::lab::{Lab, LabError};

#[derive(Debug, Args)]
pub(crate) struct KubectlArguments {
    /// Arguments of kubectl.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(lab: &Lab, arguments: &KubectlArguments) -> Result<ExitCode, LabError> {
    pass_on(&mut lab.kubectl(&arguments.arguments)?)
}
