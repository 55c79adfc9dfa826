//! `lab run`: the lab's own long-lived processes.

use clap::Subcommand;

use crate::cluster;
use crate::lab::traffic::world;
use crate::lab::{Lab, LabError, publisher};
use crate::proof::monitor;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum RunVerb {
    /// Echo, HTTP and DNS on every world address.
    World,
    /// The packet capture and the history.
    Monitor,
    /// The cluster's resolver.
    Resolver,
    /// Compile and sign at every change.
    Publisher,
    /// Make pods out of Pod objects, and take them down again.
    Kubelet,
    /// Lead connections from outside to the API server.
    Forward,
}

pub(crate) fn run(lab: &Lab, verb: RunVerb) -> Result<(), LabError> {
    match verb {
        RunVerb::World => world::world(),
        RunVerb::Monitor => monitor::run(lab),
        RunVerb::Resolver => world::resolver(lab),
        RunVerb::Publisher => publisher::run(lab),
        RunVerb::Kubelet => cluster::kubelet(lab),
        RunVerb::Forward => cluster::forward(lab),
    }
}
