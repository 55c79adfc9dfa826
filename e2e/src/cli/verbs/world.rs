//! `lab world`: what left the nodes, and commands in the world's namespace.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;

use crate::cli::foreground::execute;
use crate::cli::output::{Printer, table};
use crate::lab::{Exec, Lab, LabError};
use crate::proof::judge::{Packets, world_packets};

#[derive(Debug, Subcommand)]
pub(crate) enum WorldVerb {
    /// What left the nodes, from where, for whom, and what of it should not have.
    Packets {
        /// Count only from this time on (RFC 3339).
        #[arg(long)]
        since: Option<Timestamp>,
    },
    /// Run a command in the world; its exit code is this program's.
    Exec {
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

pub(crate) fn run(lab: &Lab, verb: &WorldVerb, printer: &Printer) -> Result<ExitCode, LabError> {
    match verb {
        WorldVerb::Packets { since } => {
            let packets = world_packets(lab, *since)?;
            printer.print(&packets, || packet_text(&packets))?;
            Ok(ExitCode::SUCCESS)
        }
        WorldVerb::Exec { command } => execute(lab, Exec::World, command),
    }
}

fn packet_text(packets: &Packets) -> String {
    let mut sources = table(&["SOURCE", "NODE", "PACKETS", "FIRST", "LAST"]);
    for source in &packets.sources {
        let times = [source.first.to_string(), source.last.to_string()];
        let count = source.packets.to_string();
        sources.add_row([
            &source.address.to_string(),
            &source.node,
            &count,
            &times[0],
            &times[1],
        ]);
    }
    let mut pods = table(&["POD", "ARRIVED", "BEFORE"]);
    for pod in &packets.pods {
        pods.add_row([
            pod.pod.clone(),
            pod.arrived.to_string(),
            pod.before.to_string(),
        ]);
    }
    let mut leaks = table(&[
        "LEAK OF", "SOURCE", "NODE", "PROTOCOL", "PACKETS", "FIRST", "LAST",
    ]);
    for leak in &packets.leaks {
        let (source, count) = (leak.source.to_string(), leak.packets.to_string());
        let times = [leak.first.to_string(), leak.last.to_string()];
        leaks.add_row([
            &leak.pod,
            &source,
            &leak.node,
            &leak.protocol,
            &count,
            &times[0],
            &times[1],
        ]);
    }
    let agreed = if packets.agreed {
        "agree"
    } else {
        "DO NOT AGREE"
    };
    format!(
        "captured {}, dropped {}, the two counters {agreed}\n\n{sources}\n\n{pods}\n\nleaked {}, node resets {}, replies to \
         inbound connections {}{}",
        packets.captured,
        packets.dropped,
        packets.leaked,
        packets.node_resets,
        packets.replies,
        if packets.leaks.is_empty() {
            String::new()
        } else {
            format!("\n\n{leaks}")
        }
    )
}
