//! `posternctl doctor`: findings about a cluster, each with an act.

use clap::Args;
use jiff::Timestamp;

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbError};
use crate::doctor::DoctorReport;
use crate::output::Format;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let snapshot = arguments.cluster.find()?.snapshot(Timestamp::now())?;
    VerbAnswer::of(&DoctorReport::of(&snapshot), format)
}
