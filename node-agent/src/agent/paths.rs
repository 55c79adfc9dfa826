//! Looks for links from which packets pass by the guard. Which pods that concerns is told by the report.

use std::collections::BTreeSet;

use postern_host::{Bypass, Host, HostError};
use postern_intent::IfName;
use postern_plan::binding::Binding;
use postern_plan::host::ObservedLink;

use super::state::Agent;

impl<H: Host> Agent<H> {
    /// Looks for ways past netfilter at everything that pods may be behind.
    ///
    /// # Errors
    /// [`HostError`]; what was known before is still held to be true.
    pub(super) async fn look_at_paths(&mut self, links: &[ObservedLink]) -> Result<(), HostError> {
        self.kernel.last.bypasses = self.host.bypasses(&self.pods_are_behind(links)).await?;
        self.kernel.facts.bypassed = self.kernel.last.bypasses.keys().cloned().collect();
        Ok(())
    }

    fn pods_are_behind(&self, links: &[ObservedLink]) -> BTreeSet<IfName> {
        let is_pod_link = |name: &str| self.options.settings.is_pod_link(name);
        let by_setting = links
            .iter()
            .filter(|link| {
                is_pod_link(&link.name) || link.master.as_deref().is_some_and(is_pod_link)
            })
            .filter_map(|link| link.name.parse().ok());
        let bound = self.memory.bindings.get().by_container.values();
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
}
