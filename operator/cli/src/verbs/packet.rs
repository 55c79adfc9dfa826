//! `posternctl explain pod --to`: what becomes of one packet, by what a compile gives or by what a cluster has published.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use postern_compile::intake::name;
use postern_compile::snapshot::SnapshotPod;
use postern_compile::{Compilation, NodeOutcome, Snapshot};
use postern_control::explained::{
    AskedDestination, ExplainedPacket, NodeExplanation, PacketTarget,
};
use postern_control::{ControlRequest, ExplainRequest, ask_for};
use postern_crds::NodeIntent;
use postern_crds::names::CLUSTER_INTENT;
use postern_intent::body::RuleProtocol;
use postern_intent::{Body, NamePattern, NodeName};

use super::VerbError;
use super::bodies::{UNPROVED, coming, coming_cluster};
use crate::cluster::{ClusterConnection, ReadResult};
use crate::explained::{PacketError, body, packet_question};

/// One packet of the pod.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("transport").multiple(true)))]
pub(super) struct PacketArguments {
    /// Show the result of the first packet of a connection to this address, or to the address of this name, and the rule that
    /// decides.
    #[arg(long, value_name = "ADDRESS|NAME", requires = "transport", value_parser = asked)]
    to: Option<AskedDestination>,
    /// The name that was answered with the address of --to, as the pod asked for it.
    #[arg(long, value_name = "NAME", requires = "to", value_parser = asked_name)]
    answered_for: Option<NamePattern>,
    /// The port that the packet goes to.
    #[arg(long, group = "transport", requires = "to")]
    port: Option<NonZeroU16>,
    /// What the packet carries [default: TCP]
    #[arg(long, group = "transport", requires = "to", value_enum)]
    protocol: Option<PacketProtocol>,
    /// Ask the agent of this node, which runs the pod, by its socket in this folder (/run/postern): what it has in force, what names
    /// granted and until when, and what rules counted.
    #[arg(
        long,
        value_name = "DIR",
        requires = "to",
        conflicts_with_all = ["answered_for", "manifests", "asked-cluster"]
    )]
    run_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum PacketProtocol {
    Tcp,
    Udp,
    Sctp,
    Icmp,
}

impl PacketArguments {
    /// Where the packet goes to, if one is asked about.
    pub(super) fn target(&self) -> Option<PacketTarget> {
        let protocol = match self.protocol {
            None | Some(PacketProtocol::Tcp) => RuleProtocol::Tcp,
            Some(PacketProtocol::Udp) => RuleProtocol::Udp,
            Some(PacketProtocol::Sctp) => RuleProtocol::Sctp,
            Some(PacketProtocol::Icmp) => RuleProtocol::Icmp,
        };
        let target = self.to.clone()?.target(protocol, self.port);
        Some(PacketTarget {
            name: target.name.or_else(|| self.answered_for.clone()),
            ..target
        })
    }

    /// The folder of the socket of the agent that is asked, if one is.
    pub(super) fn run_dir(&self) -> Option<&Path> {
        self.run_dir.as_deref()
    }
}

fn asked(written: &str) -> Result<AskedDestination, String> {
    AskedDestination::read(written, asked_name)
}

/// A name that a pod asks for, in any way of writing it.
fn asked_name(written: &str) -> Result<NamePattern, String> {
    let name = name("the name", written).map_err(|refusal| refusal.message)?;
    match name.below() {
        None => Ok(name),
        Some(_) => Err("a pod asks for one name, such as api.example.org".to_owned()),
    }
}

/// By what the node has in force, which this runs on.
pub(super) fn of_node(
    run_dir: &Path,
    (namespace, pod): (&str, &str),
    target: PacketTarget,
) -> Result<NodeExplanation, VerbError> {
    let unreadable = |_| VerbError::Name(format!("{namespace}/{pod}"));
    let request = ExplainRequest {
        namespace: namespace.parse().map_err(unreadable)?,
        pod: pod.parse().map_err(unreadable)?,
        target,
    };
    ask_for(run_dir, &ControlRequest::Explain(request)).map_err(VerbError::Agent)
}

/// By what nodes have once a compile is published.
pub(super) fn of_files(
    snapshot: &Snapshot,
    compilation: &Compilation,
    pod: &SnapshotPod,
    target: &PacketTarget,
) -> Result<ExplainedPacket, VerbError> {
    let question = packet_question(pod, target)?;
    let cluster = coming_cluster(snapshot, compilation);
    let body = |node: &NodeName| {
        let outcome = compilation.nodes.get(node);
        let previous = snapshot.previous.get(node);
        let found = outcome.and_then(|outcome| coming(outcome, previous, cluster));
        let node = node.clone();
        found.ok_or(match outcome {
            Some(NodeOutcome::Restored) => PacketError::Restored { node },
            _ => PacketError::Unpublished { node },
        })
    };
    let mut explained = ExplainedPacket::judged(&question, snapshot.now, body)?;
    if snapshot.reports.iter().any(|report| report.key.is_some()) {
        explained.assume(UNPROVED);
    }
    Ok(explained)
}

/// By what is published in a cluster.
pub(super) fn of_cluster(
    cluster: &ClusterConnection,
    pod: &SnapshotPod,
    target: &PacketTarget,
    now: Timestamp,
) -> Result<ExplainedPacket, VerbError> {
    let question = packet_question(pod, target)?;
    let mut published = IntentCache {
        cluster,
        read: BTreeMap::new(),
    };
    let mut explained = ExplainedPacket::judged(&question, now, |node| published.body(node))?;
    explained.assume("what is published is genuine; `posternctl verify` looks at signatures");
    Ok(explained)
}

/// What is published, each object read once.
struct IntentCache<'a> {
    cluster: &'a ClusterConnection,
    read: BTreeMap<String, Option<ReadResult<NodeIntent>>>,
}

impl IntentCache<'_> {
    fn body(&mut self, node: &NodeName) -> Result<Body, VerbError> {
        for name in [node.as_str(), CLUSTER_INTENT] {
            if !self.read.contains_key(name) {
                let found = self.cluster.intent(name);
                let found = found.map_err(|source| VerbError::Published {
                    name: name.to_owned(),
                    source: Box::new(source),
                })?;
                self.read.insert(name.to_owned(), found);
            }
        }
        let read = |name: &str| self.read.get(name).and_then(Option::as_ref);
        Ok(body(node, read(node.as_str()), read(CLUSTER_INTENT))?)
    }
}
