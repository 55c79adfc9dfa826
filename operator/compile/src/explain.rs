//! Why a pod leaves as it does, for people.

use postern_intent::body::{BlockedReason, Class, EgressPath, Scope};
use postern_intent::{ExitName, Namespace, NodeDocument, NodeName, PodName};
use serde::Serialize;

use crate::index::Index;
use crate::screen::ScreenedSnapshot;
use crate::select::{Contender, Contenders};
use crate::snapshot::{PodNetwork, Snapshot};

/// Everything about one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub pod: String,
    /// The node that it is bound to.
    pub node: String,
    /// The policies of the namespace in the order of their rank.
    pub policies: Vec<ConsideredPolicy>,
    /// The class that the node's document gives it; none: no document lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The exit of its scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitName>,
    /// The scope's way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<EgressPath>,
    /// The answer in one sentence.
    pub summary: String,
}

/// One policy that was looked at for a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsideredPolicy {
    pub name: String,
    pub priority: i32,
    /// What came of it.
    pub outcome: PolicyEffect,
}

/// What came of a policy for one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PolicyEffect {
    /// It decides about the pod.
    Decides,
    /// It selects the pod, but another one decides.
    Overridden,
    /// It decides nothing, but a refused update of it selects the pod: nothing of it leaves.
    Blocks,
    /// It does not select the pod.
    NotSelected,
}

/// Explains a pod by the documents that a compile gave or kept. None: there is no such pod.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    documents: &std::collections::BTreeMap<NodeName, NodeDocument>,
    namespace: &Namespace,
    name: &PodName,
) -> Option<Explanation> {
    let screened = ScreenedSnapshot::new(snapshot);
    let index = Index::new(snapshot, &screened);
    let contenders = Contenders::new(&index);
    let pod = index
        .pods
        .get(namespace)?
        .iter()
        .copied()
        .find(|pod| pod.name == *name)?;
    let before = index.published.before(&pod.uid);
    let mut decided = false;
    let mut consider = |one: &Contender<'_>| {
        let selects = one.selects(&pod.labels, before);
        let claims = one.claims(&pod.labels);
        let outcome = match (selects, decided) {
            (true, false) => PolicyEffect::Decides,
            (true, true) => PolicyEffect::Overridden,
            (false, false) if claims => PolicyEffect::Blocks,
            (false, _) => PolicyEffect::NotSelected,
        };
        decided |= selects;
        ConsideredPolicy {
            name: one.key.name.clone(),
            priority: one.priority,
            outcome,
        }
    };
    let list = contenders.of(namespace).iter();
    let mut policies: Vec<ConsideredPolicy> = list.map(&mut consider).collect();
    let document = documents.get(&pod.node);
    let class = document
        .and_then(|document| document.pods.iter().find(|listed| listed.uid == pod.uid))
        .map(|pod| pod.class.clone());
    let scope = class.as_ref().and_then(|class| scope_of(document?, class));
    // The tier decides only about pods that no other policy decides about.
    let baseline = contenders.baseline(namespace);
    let own = baseline.filter(|one| scope.is_some_and(|scope| scope.policy.uid == one.uid));
    policies.extend(own.map(consider));
    let summary = match pod.attachment {
        PodNetwork::Host => {
            "it uses the host network and cannot be told apart by address".to_owned()
        }
        PodNetwork::Own => sentence(class.as_ref(), scope),
    };
    Some(Explanation {
        pod: format!("{namespace}/{name}"),
        node: pod.node.to_string(),
        policies,
        exit: scope.and_then(|scope| scope.exit.clone()),
        way: scope.map(|scope| scope.way),
        class,
        summary,
    })
}

fn scope_of<'a>(document: &'a NodeDocument, class: &Class) -> Option<&'a Scope> {
    match class {
        Class::Policy { scope: id } => document.firewall.iter().find(|scope| scope.id == *id),
        Class::Blocked { .. } | Class::Released => None,
    }
}

fn sentence(class: Option<&Class>, scope: Option<&Scope>) -> String {
    let exit = scope.and_then(|scope| scope.exit.as_ref());
    let exit = exit.map(ToString::to_string).unwrap_or_default();
    match (class, scope.map(|scope| scope.way)) {
        (None, _) => {
            "its node's intent does not list it yet, so it is held if its namespace is guarded"
                .to_owned()
        }
        (Some(Class::Released), _) => {
            "no policy selects it, so it leaves by its node's uplink".to_owned()
        }
        (Some(Class::Blocked { reason }), _) => blocked(*reason),
        (_, Some(EgressPath::Blocked { reason })) => blocked(reason),
        (_, Some(EgressPath::Tunnel)) => format!("it leaves by the tunnel to exit {exit}"),
        (_, Some(EgressPath::LocalExit)) => {
            format!("it is on the active gateway of exit {exit} and leaves there")
        }
        (_, Some(EgressPath::NodeUplink)) => "it leaves by its node's uplink, filtered".to_owned(),
        (Some(Class::Policy { scope }), None) => {
            format!("its scope {scope} is missing from the body")
        }
    }
}

fn blocked(reason: BlockedReason) -> String {
    format!("nothing of it leaves the cluster: {reason}")
}
