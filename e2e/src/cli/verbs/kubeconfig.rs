//! `lab kubeconfig`: the administrator's kubeconfig.

use clap::Args;

use crate::cli::output::Printer;
use crate::cluster;
use crate::lab::{Lab, LabError};

#[derive(Debug, Args)]
pub(crate) struct KubeconfigArguments {
    /// Print the file itself.
    #[arg(long)]
    raw: bool,
}

pub(crate) fn run(
    lab: &Lab,
    arguments: &KubeconfigArguments,
    printer: &Printer,
) -> Result<(), LabError> {
    lab.needs_api_server("kubeconfig")?;
    let files = cluster::kubeconfigs(lab);
    if !arguments.raw {
        return printer.print(&files, || files.outside.display().to_string());
    }
    let path = &files.outside;
    let text = std::fs::read_to_string(path).map_err(LabError::file("read", path))?;
    print!("{text}");
    Ok(())
}
