//! `posternctl status`: how things stand in a cluster.

use clap::Args;
use jiff::Timestamp;

use super::source::ClusterArguments;
use super::{Answer, VerbError};
use crate::output::Format;
use crate::standing::Standing;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<Answer, VerbError> {
    let objects = arguments.cluster.find()?.objects()?;
    Answer::of(&Standing::of(&objects, Timestamp::now()), format)
}
