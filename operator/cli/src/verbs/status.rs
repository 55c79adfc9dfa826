//! `posternctl status`: how things stand in a cluster.

use clap::Args;
use jiff::Timestamp;

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbError};
use crate::output::Format;
use crate::overview::ClusterOverview;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let objects = arguments.cluster.find()?.objects()?;
    VerbAnswer::of(&ClusterOverview::of(&objects, Timestamp::now()), format)
}
