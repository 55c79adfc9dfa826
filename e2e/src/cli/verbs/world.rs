//! `lab world`: what left the nodes, and commands in the world's namespace.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;
use jiff::Timestamp;
use postern_intent::WgKey;
use postern_intent::credential::SecretBytes;

use crate::cli::foreground::execute;
use crate::cli::output::{Printer, table};
use crate::lab::{Exec, Lab, LabError, WireguardServer};
use crate::proof::judge::{Leak, Packets, PodCount, Source, Unowned, world_packets};

#[derive(Debug, Subcommand)]
pub(crate) enum WorldVerb {
    /// What left the nodes, from where, for whom, and what of it should not have.
    Packets {
        /// Count only from this time on (RFC 3339).
        #[arg(long)]
        since: Option<Timestamp>,
    },
    /// Start a WireGuard server in the world that is not ours, for an exit outside of the cluster.
    Wireguard {
        /// Its private key, in base64.
        #[arg(long)]
        private_key: String,
        /// The public key of its client.
        #[arg(long)]
        client: WgKey,
        /// The preshared key, in base64.
        #[arg(long)]
        preshared_key: Option<String>,
        /// The UDP port at which it listens, on every address of the world.
        #[arg(long, default_value_t = 51820)]
        port: u16,
        /// Its own addresses in the tunnel, with their networks.
        #[arg(long, default_values = ["10.64.0.1/24", "fc00:bbbb::1/64"])]
        address: Vec<String>,
        /// What it gives to the client.
        #[arg(long, default_values = ["10.64.0.2/32", "fc00:bbbb::2/128"])]
        client_address: Vec<String>,
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
        WorldVerb::Wireguard {
            private_key,
            client,
            preshared_key,
            port,
            address,
            client_address,
        } => {
            let key = |field, text: &String| {
                SecretBytes::from_base64(field, text).map_err(|error| LabError::Key {
                    why: error.to_string(),
                })
            };
            let preshared = preshared_key.as_ref();
            lab.start_wireguard(&WireguardServer {
                private_key: key("--private-key", private_key)?,
                port: *port,
                client: *client,
                preshared_key: preshared
                    .map(|text| key("--preshared-key", text))
                    .transpose()?,
                addresses: address.clone(),
                client_addresses: client_address.clone(),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        WorldVerb::Exec { command } => execute(lab, Exec::World, command),
    }
}

fn packet_text(packets: &Packets) -> String {
    let agreed = if packets.agreed {
        "agree"
    } else {
        "DO NOT AGREE"
    };
    let leaks = if packets.leaks.is_empty() {
        String::new()
    } else {
        format!("\n\n{}", leak_table(&packets.leaks))
    };
    let unowned = if packets.unowned.is_empty() {
        String::new()
    } else {
        format!("\n\n{}", unowned_table(&packets.unowned))
    };
    format!(
        "captured {}, dropped {}, the two counters {agreed}\n\n{}\n\n{}\n\nleaked {}, node resets {}, replies to \
         inbound connections {}{leaks}{unowned}",
        packets.captured,
        packets.dropped,
        source_table(&packets.sources),
        pod_table(&packets.pods),
        packets.leaked,
        packets.node_resets,
        packets.replies,
    )
}

fn source_table(sources: &[Source]) -> Table {
    let mut table = table(&["SOURCE", "NODE", "PACKETS", "FIRST", "LAST"]);
    for source in sources {
        table.add_row([
            source.address.to_string(),
            source.node.clone(),
            source.packets.to_string(),
            source.first.to_string(),
            source.last.to_string(),
        ]);
    }
    table
}

fn pod_table(pods: &[PodCount]) -> Table {
    let mut table = table(&["POD", "ARRIVED", "BEFORE"]);
    for pod in pods {
        table.add_row([
            pod.pod.clone(),
            pod.arrived.to_string(),
            pod.before.to_string(),
        ]);
    }
    table
}

fn leak_table(leaks: &[Leak]) -> Table {
    let mut table = table(&[
        "LEAK OF", "SOURCE", "NODE", "PROTOCOL", "PACKETS", "FIRST", "LAST",
    ]);
    for leak in leaks {
        table.add_row([
            leak.pod.clone(),
            leak.source.to_string(),
            leak.node.clone(),
            leak.protocol.clone(),
            leak.packets.to_string(),
            leak.first.to_string(),
            leak.last.to_string(),
        ]);
    }
    table
}

fn unowned_table(unowned: &[Unowned]) -> Table {
    let mut table = table(&[
        "NOBODY'S FROM",
        "NODE",
        "TO",
        "PROTOCOL",
        "PORT",
        "PACKETS",
        "FIRST",
        "LAST",
    ]);
    for packets in unowned {
        table.add_row([
            packets.source.to_string(),
            packets.node.clone(),
            packets.destination.to_string(),
            packets.protocol.clone(),
            packets.port.to_string(),
            packets.packets.to_string(),
            packets.first.to_string(),
            packets.last.to_string(),
        ]);
    }
    table
}
