//! `lab pod`: creates, deletes, enters and lists pods.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::SignedDuration;

use crate::cli::foreground::execute;
use crate::cli::output::Printer;
use crate::cli::tables::pod_table;
use crate::cli::values::{label, positive};
use crate::lab::{Exec, Lab, LabError, PodOptions, PodRecord, pod_name};

#[derive(Debug, Subcommand)]
pub(crate) enum PodVerb {
    /// Create a pod in the order of a real kubelet: object, CNI, process, and its address in the status.
    Create(CreateArguments),
    /// Delete a pod: its processes, its network, its object.
    Delete {
        /// NAMESPACE/NAME
        pod: String,
    },
    /// Run a command in a pod's network namespace; its exit code is this program's.
    Exec {
        /// NAMESPACE/NAME
        pod: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// List the running pods with their addresses and the world addresses that are their own.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// NAMESPACE/NAME
    pod: String,
    /// The node it runs on.
    #[arg(long)]
    node: String,
    /// A label, KEY=VALUE; may repeat.
    #[arg(long, short, value_parser = label)]
    label: Vec<(String, String)>,
    /// Time between process start and the address in the Pod's status.
    #[arg(long, default_value = "1s")]
    status_delay: SignedDuration,
    /// How long CNI plugins may say "try again later".
    #[arg(long, default_value = "60s")]
    timeout: SignedDuration,
    /// An address to ask for; may repeat, once per family.
    #[arg(long)]
    address: Vec<IpAddr>,
    /// The pod's first process; it sleeps for ever without one.
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(lab: &Lab, verb: &PodVerb, printer: &Printer) -> Result<ExitCode, LabError> {
    match verb {
        PodVerb::Create(arguments) => {
            let (namespace, name) = pod_name(&arguments.pod)?;
            let pod = lab.create_pod(&namespace, &name, &options(arguments)?)?;
            print_pods(&[pod], printer)?;
        }
        PodVerb::Delete { pod } => lab.delete_pod(pod)?,
        PodVerb::List => print_pods(&lab.pods()?, printer)?,
        PodVerb::Exec { pod, command } => return execute(lab, Exec::Pod(pod), command),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_pods(pods: &[PodRecord], printer: &Printer) -> Result<(), LabError> {
    printer.print(pods, || pod_table(pods))
}

fn options(arguments: &CreateArguments) -> Result<PodOptions, LabError> {
    Ok(PodOptions {
        labels: arguments.label.clone(),
        status_delay: positive("--status-delay", arguments.status_delay)?,
        timeout: positive("--timeout", arguments.timeout)?,
        addresses: arguments.address.clone(),
        command: arguments.command.clone(),
        ..PodOptions::on(&arguments.node)
    })
}
