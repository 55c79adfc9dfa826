//! Ways past netfilter in memory. A test adds them, and they end with their link.

use std::collections::{BTreeMap, BTreeSet};

use postern_intent::IfName;

use super::fault::Call;
use super::host::{FakeHost, FakeState};
use postern_host::bypass::Bypass;
use postern_host::error::HostError;
use postern_host::ports::{HostResult, Paths};

impl FakeHost {
    /// Another program leads a link's packets past netfilter.
    pub fn has_bypass(&self, link: IfName, bypass: Bypass) {
        self.state().bypasses.insert(link, bypass);
    }

    /// No program leads them past netfilter any more.
    pub fn has_no_bypass(&self, link: &IfName) {
        self.state().bypasses.remove(link);
    }
}

impl Paths for FakeHost {
    async fn bypasses(&self, links: &BTreeSet<IfName>) -> HostResult<BTreeMap<IfName, Bypass>> {
        let mut state = self.state();
        state
            .faults
            .meet(Call::Bypasses)
            .map_err(|source| HostError::ReadPaths { source })?;
        let FakeState {
            links: there,
            bypasses,
            ..
        } = &*state;
        let exists = |name: &IfName| there.iter().any(|link| link.name == name.as_str());
        let found = bypasses
            .iter()
            .filter(|(name, _)| links.contains(*name) && exists(name));
        Ok(found
            .map(|(name, bypass)| (name.clone(), bypass.clone()))
            .collect())
    }
}
