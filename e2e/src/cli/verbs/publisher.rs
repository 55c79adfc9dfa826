//! `lab publisher`: stops and starts what compiles and signs in a lab without an API server.

use clap::Subcommand;

use crate::lab::{Lab, LabError};

#[derive(Debug, Subcommand)]
pub(crate) enum PublisherVerb {
    /// Stop it: nothing is compiled any more.
    Stop,
    /// Start it, unless it runs.
    Start,
}

pub(crate) fn run(lab: &Lab, verb: &PublisherVerb) -> Result<(), LabError> {
    lab.needs_standalone("publisher")?;
    match verb {
        PublisherVerb::Stop => lab.kill("publisher"),
        PublisherVerb::Start => lab.start_publisher(),
    }
}
