//! Why a pod leaves as it does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use postern_compile::explain::{ConsideredPolicy, PolicyEffect, explain};
use postern_compile::intake;
use postern_compile::snapshot::{
    CompilerMemory, CompilerSettings, Definitions, PodNetwork, Snapshot, SnapshotPod,
};
use postern_crds::EgressPolicy;
use postern_crds::conditions::{ConditionStatus, ConditionType, Reason, find};
use serde::Serialize;

use super::exits::NamedExit;
use super::policy::{NOT_PERMITTED, named, outdated};
use crate::cluster::PodView;
use crate::output::{TableOutput, json_name, table};

/// A pod, the policies that were looked at for it, and the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedPod {
    pub pod: String,
    /// The node that it is bound to; none: it is bound to none, or has finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The policies of the namespace in the order of their rank.
    pub policies: Vec<ConsideredPolicy>,
    /// The exits of the one that decides.
    pub exits: Vec<NamedExit>,
    pub summary: String,
    /// What could not be read.
    pub unread: Vec<String>,
    /// The rights to exits that are missing; the answer is whole without them.
    pub not_permitted: Vec<String>,
    #[serde(skip)]
    well: bool,
}

impl ExplainedPod {
    #[must_use]
    pub fn of(name: &str, view: &PodView, now: Timestamp) -> Self {
        let mut unread = [&view.unread[..], &view.exits.unread].concat();
        let pod = intake::pod(&view.pod);
        let mut explained = Self {
            pod: name.to_owned(),
            node: None,
            policies: Vec::new(),
            exits: Vec::new(),
            summary: String::new(),
            unread: Vec::new(),
            not_permitted: view.exits.not_permitted.clone(),
            well: false,
        };
        match pod {
            Ok(Some(pod)) => explained.decide(view, &pod, now, &mut unread),
            Ok(None) => {
                "it is bound to no node yet, or has finished, so nothing of it leaves"
                    .clone_into(&mut explained.summary);
            }
            Err(error) => explained.summary = format!("the pod is not understood: {error}"),
        }
        explained.unread = unread;
        explained
    }

    /// The policy that decides about a pod, whose exits belong to the answer.
    #[must_use]
    pub fn deciding(view: &PodView, now: Timestamp) -> Option<&EgressPolicy> {
        let pod = intake::pod(&view.pod).ok()??;
        let (snapshot, _) = snapshot(view, &pod, now);
        let policies = considered(&snapshot, &pod);
        let decides = first(view, &policies, PolicyEffect::Decides);
        decides.filter(|_| pod.attachment != PodNetwork::Host)
    }

    fn decide(
        &mut self,
        view: &PodView,
        pod: &SnapshotPod,
        now: Timestamp,
        unread: &mut Vec<String>,
    ) {
        self.node = Some(pod.node.to_string());
        let (snapshot, missed) = snapshot(view, pod, now);
        unread.extend_from_slice(&missed);
        self.policies = considered(&snapshot, pod);
        let by = |outcome| first(view, &self.policies, outcome);
        let (decides, blocks) = (by(PolicyEffect::Decides), by(PolicyEffect::Blocks));
        (self.summary, self.well) = match (decides, blocks) {
            _ if pod.attachment == PodNetwork::Host => (
                "it uses the host network and cannot be told apart by address".to_owned(),
                decides.is_none(),
            ),
            (Some(policy), _) => {
                self.exits = NamedExit::all(policy, &view.exits.by_name);
                under(policy)
            }
            (None, Some(policy)) => (refused(policy), false),
            // The operator blocks a pod that it cannot ask such a policy about, and may read what this program cannot.
            (None, None) if !missed.is_empty() => (not_known(&missed), false),
            (None, None) => unselected(view, &snapshot),
        };
    }
}

fn considered(snapshot: &Snapshot, pod: &SnapshotPod) -> Vec<ConsideredPolicy> {
    let found = explain(snapshot, &BTreeMap::new(), &pod.namespace, &pod.name);
    found.map(|found| found.policies).unwrap_or_default()
}

/// The first policy of which this came.
fn first<'a>(
    view: &'a PodView,
    policies: &[ConsideredPolicy],
    outcome: PolicyEffect,
) -> Option<&'a EgressPolicy> {
    let found = policies.iter().find(|one| one.outcome == outcome)?;
    let readable = view
        .policies
        .iter()
        .filter_map(|policy| policy.as_ref().ok());
    let mut named = readable.filter(|policy| policy.metadata.name.as_deref() == Some(&found.name));
    named.next()
}

/// Nothing is published in it: what nodes carry is not for everybody to read, and is summed up in the statuses.
/// With it, why policies are missing from it.
fn snapshot(view: &PodView, pod: &SnapshotPod, now: Timestamp) -> (Snapshot, Vec<String>) {
    let (mut policies, mut missed) = (Vec::new(), Vec::new());
    for policy in &view.policies {
        let read = match policy {
            Ok(policy) => intake::policy(policy, &CompilerSettings::default()).map_err(|error| {
                let name = policy.metadata.name.clone().unwrap_or_default();
                format!("EgressPolicy {name} is not understood: {error}")
            }),
            Err(bad) => Err(format!(
                "EgressPolicy {} is not understood: {}",
                bad.name, bad.why
            )),
        };
        match read {
            Ok(policy) => policies.push(policy),
            Err(why) => missed.push(why),
        }
    }
    let namespace = view.namespace.as_ref().map(intake::namespace);
    let snapshot = Snapshot {
        now,
        settings: CompilerSettings::default(),
        exits: Vec::new(),
        policies,
        cluster_policies: Vec::new(),
        isolations: Vec::new(),
        nodes: Vec::new(),
        pods: vec![pod.clone()],
        namespaces: namespace.and_then(Result::ok).into_iter().collect(),
        services: Vec::new(),
        credentials: BTreeMap::default(),
        reports: Vec::new(),
        previous: BTreeMap::default(),
        previous_cluster: None,
        cluster_is_own: false,
        unreadable: Default::default(),
        awaited: Default::default(),
        memory: CompilerMemory::default(),
        approvals: Vec::new(),
        definitions: Definitions::Serving,
        admin_definition: Definitions::Serving,
    };
    (snapshot, missed)
}

fn said(policy: &EgressPolicy, kind: ConditionType) -> Option<&Condition> {
    let status = policy.status.as_ref()?;
    find(&status.conditions, kind)
}

/// What a policy that decides about a pod means for it, and whether that is what was asked for.
fn under(policy: &EgressPolicy) -> (String, bool) {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    if let Some(note) = outdated(policy) {
        return (format!("policy {name} decides about it; {note}"), false);
    }
    let ready = said(policy, ConditionType::Ready);
    let is_ready = ready.is_some_and(|ready| ready.status == ConditionStatus::True.as_str());
    let why = match ready {
        _ if is_ready => String::new(),
        Some(ready) => format!(". {}: {}", ready.reason, ready.message),
        None => ". No operator has looked at it yet".to_owned(),
    };
    let used = policy.status.as_ref();
    let used = used.and_then(|status| status.exit_node.as_deref());
    let way = match used {
        Some(exit) if is_ready => format!("it leaves by exit {exit}"),
        Some(exit) => format!("it is to leave by exit {exit}, and the policy is not ready"),
        None if policy.spec.route.exit_nodes.is_empty() => {
            "it is to leave by its node's uplink, filtered".to_owned()
        }
        None => "no exit of it is in use, so nothing of the pod leaves the cluster".to_owned(),
    };
    (
        format!("policy {name} decides about it: {way}{why}"),
        is_ready,
    )
}

fn refused(policy: &EgressPolicy) -> String {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let why = said(policy, ConditionType::Accepted).map_or_else(
        || Reason::PolicyRefused.sentence().to_owned(),
        |found| format!("{}: {}", found.reason, found.message),
    );
    format!("policy {name} selects it and is refused. {why}")
}

fn not_known(missed: &[String]) -> String {
    format!(
        "not known: no policy that could be read selects it, and not every policy could be read: {}",
        missed.join("; ")
    )
}

fn unselected(view: &PodView, snapshot: &Snapshot) -> (String, bool) {
    let Some(namespace) = snapshot.namespaces.first() else {
        let unknown = "no policy that could be read selects it; whether its namespace denies what no policy selects could \
                       not be read";
        return (unknown.to_owned(), false);
    };
    if view.policies.is_empty() && !view.unread.is_empty() {
        return (
            "which policies there are could not be read".to_owned(),
            false,
        );
    }
    if namespace.denies() {
        let sentence = Reason::NamespaceDeny.sentence();
        return (
            format!("nothing of it leaves the cluster: {sentence}"),
            false,
        );
    }
    let free = "no EgressPolicy selects it, so it leaves by its node's uplink, within the rules of tier Baseline if its namespace has \
                them; ask with --to";
    (free.to_owned(), true)
}

/// The policies that were looked at for a pod, and what came of each.
pub(crate) fn considered_table(policies: &[ConsideredPolicy]) -> String {
    let rows = policies.iter().map(|considered| {
        vec![
            considered.name.clone(),
            considered.priority.to_string(),
            json_name(considered.outcome),
        ]
    });
    table(
        &["POLICY", "PRIORITY", "OUTCOME"],
        &rows.collect::<Vec<_>>(),
    )
}

impl TableOutput for ExplainedPod {
    fn table(&self) -> String {
        let node = self.node.as_deref().unwrap_or("none");
        let mut parts = vec![format!("Pod {} on node {node}: {}", self.pod, self.summary)];
        if !self.policies.is_empty() {
            parts.push(considered_table(&self.policies));
        }
        if !self.exits.is_empty() {
            let rows: Vec<_> = self.exits.iter().map(NamedExit::row).collect();
            parts.push(table(&NamedExit::HEADER, &rows));
        }
        parts.extend(named("not read", &self.unread));
        parts.extend(named(NOT_PERMITTED, &self.not_permitted));
        parts.join("\n\n")
    }

    /// Whether the pod leaves as it is meant to, and everything could be read that may be read.
    fn is_well(&self) -> bool {
        self.well && self.unread.is_empty()
    }
}
