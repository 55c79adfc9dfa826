//! Which address may do what. The agent applies the signed classification of a pod to the addresses of its binding;
//! it never invents one.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::body::{BlockedReason, Class};
use postern_intent::{Address, Namespace, PodName, ScopeId, Uid};

use super::PlanInputs;
use crate::binding::{Binding, Bindings, Listing};

/// What an address may do. An address without a class is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressClass {
    /// As the scope says.
    Scope(ScopeId),
    Blocked(BlockedReason),
    /// Whatever the node would do without us.
    Released,
}

/// Who has an address and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    pub namespace: Namespace,
    pub name: PodName,
    pub uid: Uid,
    /// What the address may do.
    pub class: AddressClass,
}

pub type Classes = BTreeMap<Address, Classified>;

/// Classifies every address of bindings and intent. O(pods · log pods).
#[must_use]
pub fn classify(inputs: &PlanInputs<'_>) -> Classes {
    let Some(body) = inputs.body else {
        return Classes::new();
    };
    let listing = Listing::of(body);
    let mut classes = Classes::new();
    let mut bound = BTreeSet::new();
    for binding in inputs.bindings.by_container.values() {
        bound.extend(binding.addresses.iter().copied());
        if let Some(class) = class_of(binding, inputs.bindings, &listing) {
            for address in &binding.addresses {
                classes.insert(*address, classified(binding, class.clone()));
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
                    class: address_class(&pod.class),
                },
            );
        }
    }
    classes
}

fn classified(binding: &Binding, class: AddressClass) -> Classified {
    Classified {
        namespace: binding.namespace.clone(),
        name: binding.name.clone(),
        uid: binding.uid.clone(),
        class,
    }
}

/// A bound pod: as it is listed. One that is not listed is released where nobody guards its namespace, unless it was
/// guarded before: only a signed release ends that, and being absent from a list is none.
fn class_of(binding: &Binding, bindings: &Bindings, listing: &Listing<'_>) -> Option<AddressClass> {
    match listing.class(binding) {
        Some(class) => Some(address_class(class)),
        None if listing.guards(binding) || bindings.guarded.contains(&binding.uid) => None,
        None => Some(AddressClass::Released),
    }
}

fn address_class(class: &Class) -> AddressClass {
    match class {
        Class::Policy { scope } => AddressClass::Scope(scope.clone()),
        Class::Blocked { reason } => AddressClass::Blocked(*reason),
        Class::Released => AddressClass::Released,
    }
}
