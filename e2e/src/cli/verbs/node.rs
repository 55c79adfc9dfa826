//! `lab node`: lists and enters nodes.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::foreground::execute;
use crate::cli::output::Printer;
use crate::cli::tables::node_table;
use crate::lab::{Exec, Lab, LabError};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// List the nodes.
    List,
    /// Run a command in a node's network and mount namespaces; its exit code is this program's.
    Exec {
        /// The node.
        node: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Put back what a flush of a node's ruleset took from the CNI and from kube-proxy.
    Restore {
        /// The node.
        node: String,
    },
}

pub(crate) fn run(lab: &Lab, verb: &NodeVerb, printer: &Printer) -> Result<ExitCode, LabError> {
    match verb {
        NodeVerb::List => {
            let nodes = lab.nodes()?;
            printer.print(&nodes, || node_table(&nodes))?;
        }
        NodeVerb::Exec { node, command } => return execute(lab, Exec::Node(node), command),
        NodeVerb::Restore { node } => {
            lab.restore_masquerade(node)?;
            lab.translate_services()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
