//! Pods whose packets pass by the guard. The guard stays for everybody; these pods are told apart, because nothing that
//! is said of the guard is true of them.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::{Address, IfName, Namespace, PodName, Uid};
use postern_plan::binding::Binding;
use postern_plan::desired::{AddressClass, Classes, Classified};

use super::ReportInputs;

/// A pod that is not released and whose packets the guard does not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BypassedPod {
    pub namespace: Namespace,
    pub name: PodName,
    /// The link that leads past the guard.
    pub link: IfName,
}

impl ReportInputs<'_> {
    /// Every pod that somebody wants guarded and that is behind a way past the guard. Where it is not known who is behind
    /// such a link, it may be any pod without a binding.
    #[must_use]
    pub fn bypassed_pods(&self) -> BTreeMap<Uid, BypassedPod> {
        let mut pods = BTreeMap::new();
        let bypassed = &self.setup.facts.bypassed;
        let mut unbound_links: BTreeSet<&IfName> = bypassed.iter().collect();
        for binding in self.in_force.bindings.by_container.values() {
            let links = [&binding.host_interface, &binding.pod_link];
            unbound_links.retain(|link| !links.contains(link));
            let link = links.into_iter().find(|link| bypassed.contains(*link));
            if let Some(link) = link.filter(|_| !self.is_free(binding)) {
                let pod = BypassedPod {
                    namespace: binding.namespace.clone(),
                    name: binding.name.clone(),
                    link: link.clone(),
                };
                pods.insert(binding.uid.clone(), pod);
            }
        }
        if let Some(&link) = unbound_links.first() {
            let guarded = self
                .unbound()
                .filter(|classified| classified.class != AddressClass::Released);
            pods.extend(guarded.map(|classified| {
                let pod = BypassedPod {
                    namespace: classified.namespace.clone(),
                    name: classified.name.clone(),
                    link: link.clone(),
                };
                (classified.uid.clone(), pod)
            }));
        }
        pods
    }

    fn classes(&self) -> Option<&Classes> {
        self.read_back.map(|read_back| &read_back.desired().classes)
    }

    /// A pod without a class is held, and so not free.
    fn is_free(&self, binding: &Binding) -> bool {
        let class_of = |address: &Address| {
            let classified = self.classes().and_then(|classes| classes.get(address));
            classified.map(|classified| &classified.class)
        };
        let mut addresses = binding.addresses.iter();
        addresses.all(|address| class_of(address) == Some(&AddressClass::Released))
    }

    /// Classified addresses that no binding vouches for: of pods that are older than the plugin.
    pub(super) fn unbound(&self) -> impl Iterator<Item = &Classified> {
        let bound: BTreeSet<&Address> = self
            .in_force
            .bindings
            .by_container
            .values()
            .flat_map(|binding| &binding.addresses)
            .collect();
        let classes = self.classes().into_iter().flatten();
        classes
            .filter(move |(address, _)| !bound.contains(address))
            .map(|(_, class)| class)
    }
}
