//! `lab status`: what runs, and what the nodes report.

use crate::cli::output::Printer;
use crate::cli::tables::{node_table, pod_table, process_list};
use crate::lab::{Lab, LabError};

pub(crate) fn run(lab: &Lab, printer: &Printer) -> Result<(), LabError> {
    let status = lab.status()?;
    printer.print(&status, || {
        format!(
            "lab in {} since {}: {}; {} services\n\n{}\n\n{}",
            status.dir.display(),
            status.created.strftime("%F %T UTC"),
            process_list(&status.processes),
            status.services.len(),
            node_table(&status.nodes),
            pod_table(&status.pods)
        )
    })
}
