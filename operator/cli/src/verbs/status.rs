//! `posternctl status`: how things stand in a cluster.

use clap::Args;
use jiff::Timestamp;

use super::source::ClusterArguments;
use super::{Answer, End, VerbError};
use crate::output::{Format, render};
use crate::standing::Standing;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<Answer, VerbError> {
    let objects = arguments.cluster.find()?.objects()?;
    let standing = Standing::of(&objects, Timestamp::now());
    let well = standing.held.is_empty() && standing.findings().next().is_none();
    Ok(Answer {
        text: render(&standing, format)?,
        end: if well { End::Well } else { End::Findings },
    })
}
