//! `posternctl explain`: which policy, why, and which way out; of a cluster, or of manifests.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use postern_compile::explain::{Explanation, explain};
use postern_compile::snapshot::SnapshotPod;
use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome, Snapshot, compile, intake};
use postern_control::explained::{ExplainedPacket, NodeExplanation};
use postern_intent::{NodeDocument, NodeName};

use super::inputs::InputArguments;
use super::packet::{self, PacketArguments};
use super::source::ReachArguments;
use super::{VerbAnswer, VerbError};
use crate::explained::{ExplainedPod, ExplainedPolicy, PacketError, considered_table};
use crate::files::FileInputs;
use crate::output::{Format, TableOutput, table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: ExplainSubject,
}

#[derive(Debug, Subcommand)]
enum ExplainSubject {
    /// Which policy decides about a pod, and where the pod leaves; with --to, what becomes of one packet. Without --manifests a cluster is asked, with your own
    /// rights, and with --run-dir the agent of the node that this runs on.
    Pod(PodArguments),
    /// What became of a policy. Without --manifests a cluster is asked, with your own rights.
    Policy(NamedArguments),
}

#[derive(Debug, Args)]
struct PodArguments {
    #[command(flatten)]
    named: NamedArguments,
    #[command(flatten)]
    packet: PacketArguments,
}

// Without manifests a cluster is asked, so they are not required here.
#[derive(Debug, Args)]
#[command(mut_arg("manifests", |manifests| manifests.required(false)))]
struct NamedArguments {
    /// `namespace/name`.
    name: String,
    #[command(flatten)]
    cluster: ReachArguments,
    #[command(flatten)]
    inputs: InputArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<VerbAnswer, VerbError> {
    match &arguments.what {
        ExplainSubject::Pod(PodArguments { named, packet })
            if let (Some(run_dir), Some(target)) = (packet.run_dir(), packet.target()) =>
        {
            let explained = packet::of_node(run_dir, named.parts()?, target)?;
            VerbAnswer::of(&explained, format)
        }
        ExplainSubject::Pod(PodArguments { named, packet }) if named.inputs.are_files() => {
            let (inputs, compilation) = named.compile()?;
            let pod = named.pod_among(&inputs)?;
            if let Some(target) = packet.target() {
                let explained = packet::of_files(&inputs.snapshot, &compilation, pod, &target)?;
                return VerbAnswer::of(&explained, format);
            }
            let explanation = explanation(&inputs.snapshot, &compilation, pod);
            VerbAnswer::of(&explanation.ok_or_else(|| named.missing("Pod"))?, format)
        }
        ExplainSubject::Policy(named) if named.inputs.are_files() => {
            let (_, compilation) = named.compile()?;
            let found = compilation.verdicts.into_iter().find(|verdict| {
                verdict
                    .namespace
                    .as_ref()
                    .is_some_and(|namespace| format!("{namespace}/{}", verdict.name) == named.name)
            });
            VerbAnswer::of(&found.ok_or_else(|| named.missing("EgressPolicy"))?, format)
        }
        ExplainSubject::Pod(PodArguments { named, packet }) => {
            let (namespace, name) = named.parts()?;
            let (cluster, now) = (named.cluster.find()?, Timestamp::now());
            if let Some(target) = packet.target() {
                let pod = cluster.bare_pod(namespace, name)?;
                let pod = pod.ok_or_else(|| named.absent("Pod"))?;
                let pod = intake::pod(&pod).map_err(PacketError::Pod)?;
                let pod = pod.ok_or_else(|| named.not_bound())?;
                let explained = packet::of_cluster(&cluster, &pod, &target, now)?;
                return VerbAnswer::of(&explained, format);
            }
            let view = cluster.pod(namespace, name)?;
            let mut view = view.ok_or_else(|| named.absent("Pod"))?;
            let deciding = ExplainedPod::deciding(&view, now);
            let exits = deciding.map(|policy| cluster.exits(policy)).transpose()?;
            view.exits = exits.unwrap_or_default();
            let explained = ExplainedPod::of(&named.name, &view, now);
            VerbAnswer::of(&explained, format)
        }
        ExplainSubject::Policy(named) => {
            let (namespace, name) = named.parts()?;
            let view = named.cluster.find()?.policy(namespace, name)?;
            let view = view.ok_or_else(|| named.absent("EgressPolicy"))?;
            let explained = ExplainedPolicy::of(&named.name, &view);
            VerbAnswer::of(&explained, format)
        }
    }
}

impl NamedArguments {
    fn parts(&self) -> Result<(&str, &str), VerbError> {
        let parts = self.name.split_once('/');
        let parts = parts.filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        parts.ok_or_else(|| VerbError::Name(self.name.clone()))
    }

    fn absent(&self, kind: &'static str) -> VerbError {
        VerbError::NotInCluster {
            kind,
            name: self.name.clone(),
        }
    }

    fn missing(&self, kind: &'static str) -> VerbError {
        VerbError::NotFound {
            kind,
            name: self.name.clone(),
        }
    }

    fn not_bound(&self) -> VerbError {
        VerbError::NotBound {
            pod: self.name.clone(),
        }
    }

    fn compile(&self) -> Result<(FileInputs, Compilation), VerbError> {
        let (inputs, _) = self.inputs.read(None, &[])?;
        let compilation = compile(&inputs.snapshot);
        Ok((inputs, compilation))
    }

    fn pod_among<'a>(&self, inputs: &'a FileInputs) -> Result<&'a SnapshotPod, VerbError> {
        let wanted = self.parts()?;
        let is_it = |pod: &&SnapshotPod| (pod.namespace.as_str(), pod.name.as_str()) == wanted;
        match inputs.snapshot.pods.iter().find(is_it) {
            Some(pod) => Ok(pod),
            None if inputs.unbound.contains(&self.name) => Err(self.not_bound()),
            None => Err(self.missing("Pod")),
        }
    }
}

fn explanation(
    snapshot: &Snapshot,
    compilation: &Compilation,
    pod: &SnapshotPod,
) -> Option<Explanation> {
    let mut bodies: BTreeMap<NodeName, NodeDocument> = snapshot.previous.clone();
    for (node, outcome) in &compilation.nodes {
        if let NodeOutcome::Publish(body) = outcome {
            bodies.insert(node.clone(), (**body).clone());
        }
    }
    explain(snapshot, &bodies, &pod.namespace, &pod.name)
}

impl TableOutput for Explanation {
    fn table(&self) -> String {
        let policies = considered_table(&self.policies);
        format!(
            "Pod {} on node {}: {}\n\n{policies}",
            self.pod, self.node, self.summary
        )
    }
}

impl TableOutput for ExplainedPacket {
    fn table(&self) -> String {
        self.to_string()
    }

    fn is_well(&self) -> bool {
        Self::is_well(self)
    }
}

impl TableOutput for NodeExplanation {
    fn table(&self) -> String {
        self.to_string()
    }

    fn is_well(&self) -> bool {
        Self::is_well(self)
    }
}

impl TableOutput for Verdict {
    fn table(&self) -> String {
        let rows = self.conditions.iter().map(|finding| {
            vec![
                finding.kind.to_string(),
                finding.state.as_str().to_owned(),
                finding.reason.to_string(),
                finding.message.clone(),
            ]
        });
        table(
            &["CONDITION", "STATUS", "REASON", "MESSAGE"],
            &rows.collect::<Vec<_>>(),
        )
    }
}
