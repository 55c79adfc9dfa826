//! `posternctl exit`: which gateway of an exit is used first, and whether the exit is used at all.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use postern_crds::ExitNode;
use postern_crds::names::{GATEWAY_ANNOTATION, OFF_ANNOTATION};
use serde::Serialize;

use super::source::ClusterArguments;
use super::{VerbAnswer, VerbError};
use crate::cluster::ClusterConnection;
use crate::files::FilesError;
use crate::output::{Format, TableOutput};
use crate::wireguard_conf::{ImportNames, ImportedExit, import};

/// The label by which the examples choose gateways.
const EXIT_LABEL: &str = "postern.dev/exit";

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
    /// Turn a file of wg-quick(8), as providers give it, into an ExitNode and a Secret. The Secret holds the private key.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Name of the ExitNode and of the Secret; without it, the file's own.
        #[arg(long)]
        name: Option<String>,
        /// Label of the nodes that may have the session, KEY=VALUE; without it `postern.dev/exit=NAME`.
        #[arg(long)]
        gateway_label: Option<String>,
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
        ExitVerb::Import {
            file,
            name,
            gateway_label,
        } => return import_file(file, name.as_deref(), gateway_label.as_deref(), format),
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

impl TableOutput for ImportedExit {
    /// Manifests that kubectl takes, with what is not honoured before them as comments.
    fn table(&self) -> String {
        let notes = self.not_honoured.iter();
        let notes: String = notes
            .map(|note| format!("# not honoured: {note}\n"))
            .collect();
        let manifests = [&self.exit, &self.secret];
        let manifests = manifests.map(|one| serde_saphyr::to_string(one).unwrap_or_default());
        format!("{notes}{}", manifests.join("---\n"))
    }

    fn is_well(&self) -> bool {
        self.not_honoured.is_empty()
    }
}

fn import_file(
    file: &Path,
    name: Option<&str>,
    label: Option<&str>,
    format: Format,
) -> Result<VerbAnswer, VerbError> {
    let read = match file.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let text = read.map_err(|source| {
        VerbError::Files(FilesError::Read {
            path: file.to_owned(),
            source,
        })
    })?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy());
    let exit = name.map_or_else(|| object_name(&stem.unwrap_or_default()), str::to_owned);
    let (key, value) = label
        .and_then(|label| label.split_once('='))
        .unwrap_or((EXIT_LABEL, exit.as_str()));
    let names = ImportNames {
        gateway_labels: [(key.to_owned(), value.to_owned())].into(),
        exit: exit.clone(),
    };
    let imported = import(&text, &names).map_err(|source| VerbError::Conf {
        path: file.to_owned(),
        source,
    })?;
    VerbAnswer::of(&imported, format)
}

/// The file's name as one of Kubernetes: `DE-Berlin_3` is `de-berlin-3`.
fn object_name(stem: &str) -> String {
    let lower = stem.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let parts = lower.split(|c: char| !allowed(c));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("-")
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
