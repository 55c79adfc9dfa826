//! `lab controlplane`: the programs of the control plane.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::output::Printer;
use crate::cli::progress::Progress;
use crate::cluster;
use crate::lab::LabError;

#[derive(Debug, Subcommand)]
pub(crate) enum ControlplaneVerb {
    /// Build the programs, or find them, and print where they are. Needs no lab.
    Build,
    /// Build Helm, or find it, and print where it is. Needs no lab.
    Helm,
    /// Print where Helm is; nothing where it is not built yet.
    FindHelm,
    /// Build kubelet and CoreDNS, or find them, and print where they are. Needs no lab.
    Nodes,
    /// Print where kubelet and CoreDNS are; nothing where they are not built yet.
    FindNodes,
}

pub(crate) fn run(verb: &ControlplaneVerb, printer: &Printer) -> Result<(), LabError> {
    match verb {
        ControlplaneVerb::Build => build(printer),
        ControlplaneVerb::Helm => helm(printer),
        ControlplaneVerb::FindHelm => find(printer, cluster::cached_helm()?.as_ref()),
        ControlplaneVerb::Nodes => nodes(printer),
        ControlplaneVerb::FindNodes => {
            let found = cluster::cached_nodes()?;
            find(printer, found.as_ref().map(|programs| &programs.kubelet))
        }
    }
}

fn build(printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let tools = cluster::prepare(&mut |stage| progress.show(stage));
    progress.end();
    let tools = tools?;
    printer.print(&tools, || tools.folder.display().to_string())
}

fn helm(printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let program = cluster::prepare_helm(&mut |stage| progress.show(stage));
    progress.end();
    let program = program?;
    printer.print(&program, || program.display().to_string())
}

fn nodes(printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let programs = cluster::prepare_nodes(&mut |stage| progress.show(stage));
    progress.end();
    let programs = programs?;
    let paths = [programs.kubelet, programs.coredns];
    printer.print(&paths, || {
        paths
            .each_ref()
            .map(|path| path.display().to_string())
            .join("\n")
    })
}

fn find(printer: &Printer, program: Option<&PathBuf>) -> Result<(), LabError> {
    let shown = program.map(|path| path.display().to_string());
    printer.print(&program, || shown.unwrap_or_default())
}
