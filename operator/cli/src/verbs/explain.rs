//! `posternctl explain`: which policy, why, and which way out; of a cluster, or of manifests.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use postern_compile::explain::{Explanation, explain};
use postern_compile::snapshot::Pod;
use postern_compile::verdict::Verdict;
use postern_compile::{Compilation, NodeOutcome, Snapshot, compile};
use postern_intent::{Namespace, NodeDocument, NodeName, PodName};

use super::inputs::InputArguments;
use super::packet::{self, PacketArguments};
use super::source::ReachArguments;
use super::{Answer, End, VerbError};
use crate::explained::{ExplainedPacket, ExplainedPod, ExplainedPolicy, considered_table};
use crate::output::{Format, Shown, render, table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Which policy decides about a pod, and where the pod leaves; with --to, what becomes of one packet. Without --manifests a cluster is asked, with your own
    /// rights.
    Pod(PodArguments),
    /// What became of a policy. Without --manifests a cluster is asked, with your own rights.
    Policy(Named),
}

#[derive(Debug, Args)]
struct PodArguments {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    packet: PacketArguments,
}

// Without manifests a cluster is asked, so they are not required here.
#[derive(Debug, Args)]
#[command(mut_arg("manifests", |manifests| manifests.required(false)))]
struct Named {
    /// `namespace/name`.
    name: String,
    #[command(flatten)]
    cluster: ReachArguments,
    #[command(flatten)]
    inputs: InputArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Result<Answer, VerbError> {
    match &arguments.what {
        What::Pod(PodArguments { named, packet }) if named.inputs.are_files() => {
            let (snapshot, compilation) = named.compile()?;
            if let Some(target) = packet.target() {
                let pod = find_pod(&snapshot, &named.name)?;
                let explained = packet::of_files(&snapshot, &compilation, pod, &target)?;
                return answer(&explained, explained.end(), format);
            }
            let explanation = pod(&snapshot, &compilation, &named.name)?;
            answer(&explanation, End::Well, format)
        }
        What::Policy(named) if named.inputs.are_files() => {
            let (_, compilation) = named.compile()?;
            let found = compilation.verdicts.into_iter().find(|verdict| {
                verdict
                    .namespace
                    .as_ref()
                    .is_some_and(|namespace| format!("{namespace}/{}", verdict.name) == named.name)
            });
            let found = found.ok_or_else(|| VerbError::NotFound {
                kind: "EgressPolicy",
                name: named.name.clone(),
            })?;
            answer(&found, End::Well, format)
        }
        What::Pod(PodArguments { named, packet }) => {
            let (namespace, name) = named.parts()?;
            let (cluster, now) = (named.cluster.find()?, Timestamp::now());
            if let Some(target) = packet.target() {
                let pod = cluster.bare_pod(namespace, name)?;
                let pod = pod.ok_or_else(|| named.absent("Pod"))?;
                let explained = packet::of_cluster(&cluster, &pod, &target, now)?;
                return answer(&explained, explained.end(), format);
            }
            let view = cluster.pod(namespace, name)?;
            let mut view = view.ok_or_else(|| named.absent("Pod"))?;
            let deciding = ExplainedPod::deciding(&view, now);
            let exits = deciding.map(|policy| cluster.exits(policy)).transpose()?;
            view.exits = exits.unwrap_or_default();
            let explained = ExplainedPod::of(&named.name, &view, now);
            answer(&explained, explained.end(), format)
        }
        What::Policy(named) => {
            let (namespace, name) = named.parts()?;
            let view = named.cluster.find()?.policy(namespace, name)?;
            let view = view.ok_or_else(|| named.absent("EgressPolicy"))?;
            let explained = ExplainedPolicy::of(&named.name, &view);
            answer(&explained, explained.end(), format)
        }
    }
}

fn answer(found: &impl Shown, end: End, format: Format) -> Result<Answer, VerbError> {
    let text = render(found, format)?;
    Ok(Answer { text, end })
}

impl ExplainedPod {
    const fn end(&self) -> End {
        match self.is_well() {
            true => End::Well,
            false => End::Findings,
        }
    }
}

impl ExplainedPacket {
    const fn end(&self) -> End {
        match self.is_well() {
            true => End::Well,
            false => End::Findings,
        }
    }
}

impl ExplainedPolicy {
    fn end(&self) -> End {
        match self.is_well() {
            true => End::Well,
            false => End::Findings,
        }
    }
}

impl Named {
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

    fn compile(&self) -> Result<(Snapshot, Compilation), VerbError> {
        let (inputs, _) = self.inputs.read(None, &[])?;
        let compilation = compile(&inputs.snapshot);
        Ok((inputs.snapshot, compilation))
    }
}

fn find_pod<'a>(snapshot: &'a Snapshot, wanted: &str) -> Result<&'a Pod, VerbError> {
    let is_it = |pod: &&Pod| format!("{}/{}", pod.namespace, pod.name) == wanted;
    let found = snapshot.pods.iter().find(is_it);
    found.ok_or_else(|| VerbError::NotFound {
        kind: "Pod",
        name: wanted.to_owned(),
    })
}

fn pod(
    snapshot: &Snapshot,
    compilation: &Compilation,
    wanted: &str,
) -> Result<Explanation, VerbError> {
    let unusable = || VerbError::Name(wanted.to_owned());
    let (namespace, name) = wanted.split_once('/').ok_or_else(unusable)?;
    let namespace: Namespace = namespace.parse().map_err(|_| unusable())?;
    let name: PodName = name.parse().map_err(|_| unusable())?;
    let mut bodies: BTreeMap<NodeName, NodeDocument> = snapshot.previous.clone();
    for (node, outcome) in &compilation.nodes {
        if let NodeOutcome::Publish(body) = outcome {
            bodies.insert(node.clone(), (**body).clone());
        }
    }
    explain(snapshot, &bodies, &namespace, &name).ok_or_else(|| VerbError::NotFound {
        kind: "Pod",
        name: wanted.to_owned(),
    })
}

impl Shown for Explanation {
    fn table(&self) -> String {
        let policies = considered_table(&self.policies);
        format!(
            "Pod {} on node {}: {}\n\n{policies}",
            self.pod, self.node, self.summary
        )
    }
}

impl Shown for Verdict {
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
