//! `lab service`: makes services with an address of their own.

use std::net::{IpAddr, SocketAddr};

use clap::Subcommand;

use crate::lab::{Lab, LabError, TrafficPolicy};

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Make a service; its endpoint may be a pod, a node or in the world.
    Create {
        /// Its name.
        name: String,
        /// Its address, of the service range.
        #[arg(long)]
        cluster_ip: IpAddr,
        /// Its port; the endpoint's port without one.
        #[arg(long)]
        port: Option<u16>,
        /// The endpoint, ADDRESS:PORT (`[ADDRESS]:PORT` for IPv6).
        #[arg(long)]
        to: SocketAddr,
    },
    /// Remove a service.
    Delete {
        /// Its name.
        name: String,
    },
}

pub(crate) fn run(lab: &Lab, verb: &ServiceVerb) -> Result<(), LabError> {
    match verb {
        ServiceVerb::Create {
            name,
            cluster_ip,
            port,
            to,
        } => {
            let port = port.unwrap_or(to.port());
            lab.create_service(
                name,
                Some(*cluster_ip),
                port,
                (to.ip(), to.port()),
                TrafficPolicy::Cluster,
            )
        }
        ServiceVerb::Delete { name } => lab.delete_service(name),
    }
}
