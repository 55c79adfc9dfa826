//! `posternctl exit`: which gateway of an exit is used first, and whether the exit is used at all.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use postern_crds::ExitNode;
use postern_crds::names::{GATEWAY_ANNOTATION, OFF_ANNOTATION};
use serde::Serialize;

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbError};
use crate::cluster::ClusterConnection;
use crate::output::{Format, TableOutput};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: ExitVerb,
}

#[derive(Debug, Subcommand)]
enum ExitVerb {
    /// Send clients to a gateway, wherever they are. They still go on by themselves when it is lost.
    Select {
        exit: String,
        /// The node of one of its gateways; without it, the order is the operator's again.
        node: Option<String>,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Take an exit out of use. Pods leave by the next exit of their policy, or not at all.
    Off {
        exit: String,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
    /// Put an exit to use again.
    On {
        exit: String,
        #[command(flatten)]
        cluster: ClusterArguments,
    },
}

/// What was changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExitChange {
    exit: String,
    annotation: &'static str,
    /// Its value; none: it was removed.
    value: Option<String>,
}

impl TableOutput for ExitChange {
    fn table(&self) -> String {
        let Self {
            exit,
            annotation,
            value,
        } = self;
        match value {
            Some(value) => format!("exit {exit}: {annotation}={value}\n"),
            None => format!("exit {exit}: {annotation} is removed\n"),
        }
    }
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    let (exit, cluster, annotation, value) = match &arguments.verb {
        ExitVerb::Select {
            exit,
            node,
            cluster,
        } => {
            let cluster = cluster.find()?;
            let value = match node {
                Some(node) => Some(selection(&cluster, exit, node)?),
                None => None,
            };
            (exit, cluster, GATEWAY_ANNOTATION, value)
        }
        ExitVerb::Off { exit, cluster } => (
            exit,
            cluster.find()?,
            OFF_ANNOTATION,
            Some("true".to_owned()),
        ),
        ExitVerb::On { exit, cluster } => (exit, cluster.find()?, OFF_ANNOTATION, None),
    };
    cluster.annotate_exit(exit, annotation, value.as_deref())?;
    let change = ExitChange {
        exit: exit.clone(),
        annotation,
        value,
    };
    VerbAnswer::of(&change, format)
}

/// The node, and the time, so that choosing the same node again is another choice. A node that is no gateway of the exit
/// would be passed over by the operator without a word.
fn selection(cluster: &ClusterConnection, exit: &str, node: &str) -> Result<String, VerbError> {
    let found = cluster.exit(exit)?.ok_or_else(|| VerbError::NotInCluster {
        kind: "ExitNode",
        name: exit.to_owned(),
    })?;
    let gateways = gateways(&found);
    if !gateways.iter().any(|gateway| gateway == node) {
        return Err(VerbError::NoGateway {
            node: node.to_owned(),
            exit: exit.to_owned(),
            gateways: match gateways.is_empty() {
                true => "none".to_owned(),
                false => gateways.join(", "),
            },
        });
    }
    Ok(format!("{node} {}", Timestamp::now().strftime("%FT%TZ")))
}

fn gateways(exit: &ExitNode) -> Vec<String> {
    let status = exit.status.iter();
    let gateways = status.flat_map(|status| &status.gateways);
    gateways.map(|gateway| gateway.node.clone()).collect()
}
