//! `lab up`: builds the programs and makes a lab.

use std::path::Path;

use clap::Args;
use jiff::SignedDuration;

use crate::cli::output::Printer;
use crate::cli::progress::Progress;
use crate::cli::verbs::status;
use crate::lab::{Cluster, Collector, Kubelets, Lab, LabError, Plugin, Programs, UpOptions};

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Without a Kubernetes control plane: objects are files, a publisher compiles and signs.
    #[arg(long)]
    standalone: bool,
    /// Number of nodes, gateways included.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// How many of the nodes carry the label `postern.dev/exit: gw-<i>`.
    #[arg(long, default_value_t = 1)]
    gateways: u8,
    /// Do not chain postern-cni behind the cluster's CNI plugins.
    #[arg(long)]
    no_plugin: bool,
    /// How long an intent is valid.
    #[arg(long, default_value = "24h")]
    validity: SignedDuration,
    /// How long an unchanged intent is kept before it is signed again.
    #[arg(long, default_value = "1h")]
    refresh: SignedDuration,
    /// How long the publisher waits before it looks at a new report.
    #[arg(long, default_value = "0s")]
    report_delay: SignedDuration,
    /// How long the publisher waits before it writes an intent.
    #[arg(long, default_value = "0s")]
    intent_delay: SignedDuration,
    /// Let operators make traces and agents export what policies decide, and write each span as a line of JSON into
    /// DIR/cp/spans.jsonl, and each decision into DIR/cp/records.jsonl.
    #[arg(long, conflicts_with = "standalone")]
    collector: bool,
    /// A kubelet and a containerd on every node, and nothing of Postern installed: `make cluster` has built what this
    /// needs, and docs/install.md tells how to go on.
    #[arg(long, conflicts_with_all = ["standalone", "collector", "no_plugin"])]
    kubelets: bool,
    /// A further argument of every agent, `--agent-argument=--repair=off`; may repeat.
    #[arg(long, hide = true)]
    agent_argument: Vec<String>,
    /// No Postern programs at all: a plain cluster.
    #[arg(long, hide = true)]
    bare: bool,
}

impl From<&UpArguments> for UpOptions {
    fn from(arguments: &UpArguments) -> Self {
        Self {
            cluster: if arguments.standalone {
                Cluster::Standalone
            } else {
                Cluster::ApiServer
            },
            nodes: arguments.nodes,
            gateways: arguments.gateways,
            plugin: if arguments.no_plugin {
                Plugin::Absent
            } else {
                Plugin::Chained
            },
            kubelets: if arguments.kubelets {
                Kubelets::Upstream
            } else {
                Kubelets::Imitated
            },
            programs: if arguments.bare || arguments.kubelets {
                Programs::Bare
            } else {
                Programs::Postern
            },
            validity: arguments.validity,
            refresh: arguments.refresh,
            report_delay: arguments.report_delay,
            intent_delay: arguments.intent_delay,
            collector: if arguments.collector {
                Collector::There
            } else {
                Collector::Absent
            },
            agent_arguments: arguments.agent_argument.clone(),
        }
    }
}

pub(crate) fn run(dir: &Path, arguments: &UpArguments, printer: &Printer) -> Result<(), LabError> {
    let mut progress = Progress::begin();
    let options = UpOptions::from(arguments);
    let lab = Lab::up(dir, &options, &mut |stage| progress.show(stage));
    progress.end();
    status::run(&lab?, printer)
}
