//! `lab proof`: collects what the leak cases have shown.

use std::process::ExitCode;

use crate::cli::output::{Printer, table};
use crate::lab::LabError;
use crate::proof::harness::{Proofs, gather_proofs};

pub(crate) fn run(printer: &Printer) -> Result<ExitCode, LabError> {
    let proofs = gather_proofs()?;
    printer.print(&proofs, || proof_text(&proofs))?;
    Ok(if proofs.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn proof_text(proofs: &Proofs) -> String {
    let mut table = table(&[
        "RUN",
        "EVENT",
        "ATTEMPTED",
        "BEFORE",
        "AFTER",
        "LEAKED",
        "RESETS",
    ]);
    for run in &proofs.runs {
        for event in &run.events {
            let proof = &event.proof;
            let counts = [
                proof.attempted,
                proof.arrived_before,
                proof.arrived_after,
                proof.leaked,
                proof.node_resets,
            ];
            let words = [run.run.clone(), proof.case.clone()];
            let counts = counts.iter().map(ToString::to_string);
            table.add_row(words.into_iter().chain(counts));
        }
    }
    let faults = proofs.faults.join("\n");
    format!("{table}\n\n{} faults\n{faults}", proofs.faults.len())
}
