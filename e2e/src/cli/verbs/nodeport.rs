//! `lab nodeport`: makes services on a port of every node.

use std::net::SocketAddr;

use clap::Subcommand;

use crate::lab::{Lab, LabError, TrafficPolicy};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeportVerb {
    /// Make a node port.
    Create {
        /// Its name.
        name: String,
        /// The port of every node.
        #[arg(long)]
        port: u16,
        /// The endpoint, ADDRESS:PORT (`[ADDRESS]:PORT` for IPv6).
        #[arg(long)]
        to: SocketAddr,
        /// externalTrafficPolicy: with `cluster` the client's address is masqueraded.
        #[arg(long, default_value = "cluster")]
        policy: TrafficPolicy,
    },
    /// Remove a node port.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(crate) fn run(lab: &Lab, verb: &NodeportVerb) -> Result<(), LabError> {
    match verb {
        NodeportVerb::Create {
            name,
            port,
            to,
            policy,
        } => lab.create_service(name, None, *port, (to.ip(), to.port()), *policy),
        NodeportVerb::Delete { name } => lab.delete_service(name),
    }
}
