//! Which address may do what. The agent applies the signed classification of a pod to the addresses of its binding;
//! it never invents one.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{BlockedReason, Body, Class, Pod};
use postern_intent::{Address, Namespace, PodName, ScopeId, Uid};

use super::Inputs;
use crate::binding::Binding;

/// What an address may do. An address without a standing is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As the scope says.
    Scope(ScopeId),
    /// Inside only.
    Blocked(BlockedReason),
    /// Whatever the node would do without us.
    Released,
}

/// Who has an address and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's name.
    pub name: PodName,
    /// The pod's UID.
    pub uid: Uid,
    /// What the address may do.
    pub standing: Standing,
}

/// Every classified address.
pub type Classes = BTreeMap<Address, Classified>;

/// Classifies every address of bindings and intent. O(pods · log pods).
#[must_use]
pub fn classify(inputs: &Inputs<'_>) -> Classes {
    let Some(body) = inputs.body else {
        return Classes::new();
    };
    let by_uid: BTreeMap<&Uid, &Pod> = body.pods.iter().map(|pod| (&pod.uid, pod)).collect();
    let by_name: BTreeMap<(&Namespace, &PodName), &Pod> = body
        .pods
        .iter()
        .map(|pod| ((&pod.namespace, &pod.name), pod))
        .collect();
    let mut classes = Classes::new();
    let mut bound = BTreeSet::new();
    for binding in inputs.bindings.by_container.values() {
        bound.extend(binding.addresses.iter().copied());
        if let Some(standing) = standing_of(binding, body, &by_uid, &by_name) {
            for address in &binding.addresses {
                classes.insert(*address, classified(binding, standing.clone()));
            }
        }
    }
    // Pods that started before the plugin was installed, or on a node without it: the intent's word for their
    // addresses, but never against a binding, and never for a pod whose DEL was seen.
    for pod in body
        .pods
        .iter()
        .filter(|pod| !inputs.bindings.departed.contains(&pod.uid))
    {
        for address in pod
            .addresses
            .iter()
            .filter(|address| !bound.contains(*address))
        {
            classes.insert(
                *address,
                Classified {
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                    uid: pod.uid.clone(),
                    standing: standing(&pod.class),
                },
            );
        }
    }
    classes
}

fn classified(binding: &Binding, standing: Standing) -> Classified {
    Classified {
        namespace: binding.namespace.clone(),
        name: binding.name.clone(),
        uid: binding.uid.clone(),
        standing,
    }
}

/// A bound pod: by UID, a static pod by its name, a pod of a namespace that is not guarded is released.
fn standing_of(
    binding: &Binding,
    body: &Body,
    by_uid: &BTreeMap<&Uid, &Pod>,
    by_name: &BTreeMap<(&Namespace, &PodName), &Pod>,
) -> Option<Standing> {
    if let Some(pod) = by_uid.get(&binding.uid) {
        return Some(standing(&pod.class));
    }
    // The kubelet knows a static pod by the hash of its manifest (32 hex digits), the API server's mirror pod has a
    // UUID with dashes. Any other pod of the same name is another pod, and inherits nothing.
    if !binding.uid.as_str().contains('-')
        && let Some(pod) = by_name.get(&(&binding.namespace, &binding.name))
    {
        return Some(standing(&pod.class));
    }
    (!body.guarded_namespaces.contains(&binding.namespace)).then_some(Standing::Released)
}

fn standing(class: &Class) -> Standing {
    match class {
        Class::Policy { scope } => Standing::Scope(scope.clone()),
        Class::Blocked { reason } => Standing::Blocked(*reason),
        Class::Released => Standing::Released,
    }
}
