//! `lab watch`: disturbs the watches of clients.

use clap::Subcommand;
use jiff::SignedDuration;
use serde_json::json;

use crate::cli::output::{Printer, table};
use crate::cli::values::positive;
use crate::cluster::OpenWatch;
use crate::lab::{Lab, LabError};

#[derive(Debug, Subcommand)]
pub(crate) enum WatchVerb {
    /// Break the watches of everything that runs on a node.
    Cut {
        /// The node.
        node: String,
    },
    /// Hold each event of every watch back; `0s` ends that.
    Delay {
        /// For how long.
        time: SignedDuration,
    },
    /// List the watches that clients have open.
    List,
}

pub(crate) fn run(lab: &Lab, verb: &WatchVerb, printer: &Printer) -> Result<(), LabError> {
    lab.needs_api_server("watch")?;
    match verb {
        WatchVerb::Cut { node } => {
            let count = lab.cut_watches(node)?;
            printer.print(&json!({ "cut": count }), || format!("{count} watches cut"))
        }
        WatchVerb::Delay { time } => lab.delay_watches(positive("delay", *time)?),
        WatchVerb::List => print_watches(&lab.watches()?, printer),
    }
}

fn print_watches(watches: &[OpenWatch], printer: &Printer) -> Result<(), LabError> {
    printer.print(watches, || {
        let mut table = table(&["CLIENT", "ADDRESS", "RESOURCE", "SINCE"]);
        for watch in watches {
            table.add_row([
                &watch.user_agent,
                &watch.address,
                &watch.resource,
                &watch.since.to_string(),
            ]);
        }
        table.to_string()
    })
}
