//! What is remembered, and which page holds which part of it. Pure.

use std::collections::BTreeMap;

use postern_compile::gate::PendingApproval;
use postern_compile::snapshot::CompilerMemory;
use postern_crds::names::{MEMORY_CONFIG_MAP, MEMORY_POLICY_PAGES, memory_policy_page};
use postern_intent::Namespace;
use sha2::{Digest as _, Sha256};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct MemoryContents {
    pub memory: CompilerMemory,
    /// UID of the policies' definition at the last compile: under another one, policies went with the old definition.
    pub definition: Option<String>,
    /// What waits for an approval, for people and `posternctl approve`.
    pub held: Vec<PendingApproval>,
}

/// One ConfigMap of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageName {
    /// What belongs to no namespace, or has to be together: denying namespaces, pins, releases, what waits.
    Core,
    /// The policies of the namespaces that fall to this number.
    Policies(u8),
}

impl PageName {
    pub fn every() -> impl Iterator<Item = Self> {
        let policies = (0..MEMORY_POLICY_PAGES).map(Self::Policies);
        std::iter::once(Self::Core).chain(policies)
    }

    /// The page of a namespace's policies. The first byte of a digest, so that it is the same for every leader and every
    /// version.
    #[must_use]
    pub fn of_policies(namespace: &Namespace) -> Self {
        let digest = Sha256::digest(namespace.as_str().as_bytes());
        Self::Policies(digest[0] % MEMORY_POLICY_PAGES)
    }

    #[must_use]
    pub fn config_map(self) -> String {
        match self {
            Self::Core => MEMORY_CONFIG_MAP.to_owned(),
            Self::Policies(number) => memory_policy_page(number),
        }
    }
}

impl MemoryContents {
    /// The part of every page. A page without policies has an empty part.
    #[must_use]
    pub fn split(&self) -> BTreeMap<PageName, Self> {
        let mut parts: BTreeMap<PageName, Self> = PageName::every()
            .map(|page| (page, Self::default()))
            .collect();
        for (namespace, policies) in &self.memory.policies {
            let part = parts.entry(PageName::of_policies(namespace)).or_default();
            part.memory
                .policies
                .insert(namespace.clone(), policies.clone());
        }
        let mut core = self.clone();
        core.memory.policies.clear();
        parts.insert(PageName::Core, core);
        parts
    }

    /// Adds the part of a page of policies.
    pub fn add_policies(&mut self, part: Self) {
        self.memory.policies.extend(part.memory.policies);
    }

    /// Does it say anything of policies?
    #[must_use]
    pub fn has_policies(&self) -> bool {
        !self.memory.policies.is_empty()
    }
}
