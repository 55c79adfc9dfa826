//! `lab apply` and `lab delete`: objects of files, written into the cluster or removed from it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::Printer;
use crate::lab::{Applied, Lab, LabError, read_objects};

#[derive(Debug, Args)]
pub(crate) struct FileArguments {
    /// A file, a folder of YAML files, or `-` for standard input.
    #[arg(long, short)]
    file: PathBuf,
}

pub(crate) fn apply(
    lab: &Lab,
    arguments: &FileArguments,
    printer: &Printer,
) -> Result<(), LabError> {
    print_outcomes(&lab.apply(read_objects(&arguments.file)?)?, printer)
}

pub(crate) fn delete(
    lab: &Lab,
    arguments: &FileArguments,
    printer: &Printer,
) -> Result<(), LabError> {
    print_outcomes(&lab.delete(&read_objects(&arguments.file)?)?, printer)
}

fn print_outcomes(objects: &[Applied], printer: &Printer) -> Result<(), LabError> {
    printer.print(objects, || {
        let lines = objects
            .iter()
            .map(|object| format!("{} {} {}", object.kind, object.name, object.outcome));
        lines.collect::<Vec<_>>().join("\n")
    })
}
