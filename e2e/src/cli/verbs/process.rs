//! `lab agent` and `lab tunnel`: kill, stop and start one process of a node.

use clap::Subcommand;

use crate::lab::{Lab, LabError};

#[derive(Debug, Subcommand)]
pub(crate) enum ProcessVerb {
    /// Kill it with everything in its PID namespace and control group; it stays dead until it is started.
    Kill {
        /// The node.
        node: String,
    },
    /// Ask it to end (SIGTERM) and wait for that.
    Stop {
        /// The node.
        node: String,
    },
    /// Start it, unless it runs.
    Start {
        /// The node.
        node: String,
    },
}

pub(crate) fn run_agent(lab: &Lab, verb: &ProcessVerb) -> Result<(), LabError> {
    run(lab, "agent", verb, Lab::start_agent)
}

pub(crate) fn run_tunnel(lab: &Lab, verb: &ProcessVerb) -> Result<(), LabError> {
    run(lab, "tunnel", verb, Lab::start_tunnel)
}

fn run(
    lab: &Lab,
    program: &str,
    verb: &ProcessVerb,
    start: fn(&Lab, &str) -> Result<(), LabError>,
) -> Result<(), LabError> {
    match verb {
        ProcessVerb::Kill { node } => lab.kill(&format!("{program}-{}", lab.node(node)?.name)),
        ProcessVerb::Stop { node } => lab.stop(&format!("{program}-{}", lab.node(node)?.name)),
        ProcessVerb::Start { node } => start(lab, node),
    }
}
