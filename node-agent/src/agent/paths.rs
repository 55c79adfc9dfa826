//! Pods whose packets pass by the guard. The guard stays for everybody; these pods are told apart, because nothing that
//! is said of the guard is true of them.

use std::collections::{BTreeMap, BTreeSet};

use postern_host::{Bypass, Host, HostError};
use postern_intent::{Address, IfName, Namespace, PodName, Uid};
use postern_plan::binding::Binding;
use postern_plan::desired::{Classified, Standing};
use postern_plan::host::ObservedLink;

use super::state::Agent;

/// A pod that is not released and whose packets the guard does not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BypassedPod {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: PodName,
    /// The link that leads past the guard.
    pub link: IfName,
}

impl<H: Host> Agent<H> {
    /// Looks for ways past netfilter at everything that pods may be behind.
    ///
    /// # Errors
    /// [`HostError`]; what was known before is still held to be true.
    pub(super) async fn look_at_paths(&mut self, links: &[ObservedLink]) -> Result<(), HostError> {
        self.last.bypasses = self.host.bypasses(&self.pods_are_behind(links)).await?;
        self.facts.bypassed = self.last.bypasses.keys().cloned().collect();
        Ok(())
    }

    fn pods_are_behind(&self, links: &[ObservedLink]) -> BTreeSet<IfName> {
        let is_pod_link = |name: &str| self.settings.is_pod_link(name);
        let by_setting = links
            .iter()
            .filter(|link| {
                is_pod_link(&link.name) || link.master.as_deref().is_some_and(is_pod_link)
            })
            .filter_map(|link| link.name.parse().ok());
        let bound = self.bindings.get().by_container.values();
        let by_binding =
            bound.flat_map(|binding| [binding.host_interface.clone(), binding.pod_link.clone()]);
        by_setting.chain(by_binding).collect()
    }

    /// What leads this pod past the guard, as the kernel shows it now.
    ///
    /// # Errors
    /// [`HostError`]: it is not known.
    pub(super) async fn bypass_of(
        &self,
        binding: &Binding,
    ) -> Result<Option<(IfName, Bypass)>, HostError> {
        let links = BTreeSet::from([binding.host_interface.clone(), binding.pod_link.clone()]);
        Ok(self.host.bypasses(&links).await?.pop_first())
    }

    /// Every pod that somebody wants guarded and that is behind a way past the guard. Where nobody knows who is behind
    /// such a link, it may be any pod without a binding.
    #[must_use]
    pub fn bypassed_pods(&self) -> BTreeMap<Uid, BypassedPod> {
        let mut pods = BTreeMap::new();
        let mut nobodys: BTreeSet<&IfName> = self.facts.bypassed.iter().collect();
        for binding in self.bindings.get().by_container.values() {
            let ways = [&binding.host_interface, &binding.pod_link];
            nobodys.retain(|link| !ways.contains(link));
            let way = ways
                .into_iter()
                .find(|link| self.facts.bypassed.contains(*link));
            if let Some(link) = way.filter(|_| !self.is_free(binding)) {
                let pod = BypassedPod {
                    namespace: binding.namespace.clone(),
                    name: binding.name.clone(),
                    link: link.clone(),
                };
                pods.insert(binding.uid.clone(), pod);
            }
        }
        if let Some(&link) = nobodys.first() {
            let guarded = self
                .unbound()
                .filter(|class| class.standing != Standing::Released);
            pods.extend(guarded.map(|class| {
                let pod = BypassedPod {
                    namespace: class.namespace.clone(),
                    name: class.name.clone(),
                    link: link.clone(),
                };
                (class.uid.clone(), pod)
            }));
        }
        pods
    }

    /// A pod without a standing is held, and so not free.
    fn is_free(&self, binding: &Binding) -> bool {
        let standing = |address: &Address| self.desired.classes.get(address).map(|c| &c.standing);
        binding
            .addresses
            .iter()
            .all(|address| standing(address) == Some(&Standing::Released))
    }

    /// Classified addresses that no binding vouches for: of pods that are older than the plugin.
    pub(crate) fn unbound(&self) -> impl Iterator<Item = &Classified> {
        let bound: BTreeSet<&Address> = self
            .bindings
            .get()
            .by_container
            .values()
            .flat_map(|binding| &binding.addresses)
            .collect();
        let classes = self.desired.classes.iter();
        classes
            .filter(move |(address, _)| !bound.contains(address))
            .map(|(_, class)| class)
    }
}
