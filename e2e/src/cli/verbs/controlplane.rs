//! `lab controlplane`: the programs of the control plane.

use clap::Subcommand;

use crate::cli::output::Printer;
use crate::cli::progress::Progress;
use crate::cluster;
use crate::lab::LabError;

#[derive(Debug, Subcommand)]
pub(crate) enum ControlplaneVerb {
    /// Build the programs, or find them, and print where they are. Needs no lab.
    Build,
}

pub(crate) fn run(verb: &ControlplaneVerb, printer: &Printer) -> Result<(), LabError> {
    match verb {
        ControlplaneVerb::Build => build(printer),
    }
}

fn build(printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let tools = cluster::prepare(&mut |stage| progress.show(stage));
    progress.end();
    let tools = tools?;
    printer.print(&tools, || tools.folder.display().to_string())
}
