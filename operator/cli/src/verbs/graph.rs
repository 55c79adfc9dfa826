//! `posternctl graph`: which traffic goes where.

use clap::{Args, ValueEnum};

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbEnd, VerbError};
use crate::graph::TrafficGraph;
use crate::output::{Format, TableOutput, render};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What it is drawn for; with -o json or -o yaml nodes and edges are listed instead.
    #[arg(long, value_enum, default_value_t = Drawing::Mermaid)]
    drawing: Drawing,
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Drawing {
    /// Text that forges and editors draw.
    Mermaid,
    /// Text for Graphviz.
    Dot,
    /// A picture.
    Svg,
}

impl TableOutput for TrafficGraph {
    fn table(&self) -> String {
        self.mermaid()
    }
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let objects = arguments.cluster.find()?.objects()?;
    let graph = TrafficGraph::of(&objects);
    let text = match (format, arguments.drawing) {
        (Format::Table, Drawing::Dot) => graph.dot(),
        (Format::Table, Drawing::Svg) => graph.svg(),
        (Format::Table, Drawing::Mermaid) | (Format::Json | Format::Yaml, _) => {
            render(&graph, format)?
        }
    };
    Ok(VerbAnswer {
        text,
        end: VerbEnd::Well,
    })
}
