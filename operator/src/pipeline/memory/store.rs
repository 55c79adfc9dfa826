//! The memory as this process holds it: loaded at the beginning of a term, and from then on known. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use postern_intent::Namespace;

use super::contents::{MemoryContents, PageName};
use super::page::{PageError, pack, unpack};
use crate::pipeline::owned::{OwnWrite, ShownVersion};

/// How long a page that the API server refused is left alone while it would say the same: it refuses the same again.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// The memory as this process holds it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: Option<MemoryContents>,
    /// The epoch under which this process loaded it.
    epoch: Option<u64>,
    pages: BTreeMap<PageName, StoredPage>,
    refused: BTreeMap<PageName, RefusedPage>,
}

/// A page that this process read or wrote.
#[derive(Debug)]
struct StoredPage {
    part: MemoryContents,
    owned: OwnWrite,
    /// The epoch of the write; none: it was read.
    epoch: Option<u64>,
}

#[derive(Debug)]
struct RefusedPage {
    part: MemoryContents,
    at: Instant,
    why: String,
}

/// A page that the API server refuses: what it would say of these namespaces is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwrittenPage {
    pub page: PageName,
    /// The namespaces whose policies it holds.
    pub namespaces: Vec<Namespace>,
    /// What the API server said.
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedMemory {
    Known,
    Empty,
    /// A page of it cannot be read; it is replaced.
    Damaged,
}

/// What is to be done with the pages.
#[derive(Debug)]
pub enum PageWrites {
    /// The watch has not shown the last write of a page yet.
    Wait,
    /// These are made or replaced; none: all of them say what is remembered.
    These(Vec<(PageName, ConfigMap)>),
}

impl MemoryStore {
    /// What is remembered. At the beginning of a term it is read from the ConfigMaps; from then on this process knows it,
    /// whatever becomes of them.
    ///
    /// # Errors
    /// [`PageError::Newer`]: a reader that understands less than was written would loosen.
    pub fn load(
        &mut self,
        shown: impl Fn(PageName) -> Option<ConfigMap>,
        epoch: u64,
        now: Instant,
    ) -> Result<(MemoryContents, LoadedMemory), PageError> {
        if let (Some(contents), Some(known)) = (&self.contents, self.epoch)
            && known == epoch
        {
            return Ok((contents.clone(), LoadedMemory::Known));
        }
        self.pages.clear();
        self.refused.clear();
        let mut contents = MemoryContents::default();
        let mut loaded = LoadedMemory::Empty;
        for page in PageName::every() {
            let Some(map) = shown(page) else {
                continue;
            };
            let part = match unpack(page, &map) {
                Ok(part) => part,
                Err(newer @ PageError::Newer { .. }) => return Err(newer),
                Err(_) => {
                    loaded = LoadedMemory::Damaged;
                    continue;
                }
            };
            if loaded == LoadedMemory::Empty {
                loaded = LoadedMemory::Known;
            }
            let version = map.metadata.resource_version.unwrap_or_default();
            let stored = StoredPage {
                part: part.clone(),
                owned: OwnWrite::new(version, now),
                epoch: None,
            };
            self.pages.insert(page, stored);
            // The core page comes first.
            match page {
                PageName::Core => contents = part,
                PageName::Policies(_) => contents.add_policies(part),
            }
        }
        Ok((contents, loaded))
    }

    /// What has to be written so that the pages say what is remembered. The first write of a term to the core page is
    /// always made: it moves the version on, so that a stale leader's is refused.
    ///
    /// # Errors
    /// [`PageError::Serialize`] or [`PageError::Pack`].
    pub fn writes(
        &mut self,
        next: &MemoryContents,
        shown: impl Fn(PageName) -> Option<ConfigMap>,
        epoch: u64,
        now: Instant,
    ) -> Result<PageWrites, PageError> {
        let mut writes = Vec::new();
        for (page, part) in next.split() {
            let map = shown(page);
            let version = map
                .as_ref()
                .and_then(|map| map.metadata.resource_version.as_deref());
            let stored = self.pages.get_mut(&page);
            let is_idle = page != PageName::Core && !part.has_policies();
            if stored.is_none() && is_idle && map.is_none() {
                self.refused.remove(&page);
                continue;
            }
            let same = stored.as_ref().is_some_and(|stored| {
                stored.part == part && (page != PageName::Core || stored.epoch == Some(epoch))
            });
            match stored.map(|stored| stored.owned.look(version, now)) {
                Some(ShownVersion::Older) => return Ok(PageWrites::Wait),
                // What was refused is not wanted any more.
                Some(ShownVersion::Same) if same => {
                    self.refused.remove(&page);
                }
                _ if self.is_refused(page, &part, now) => continue,
                _ => writes.push((page, pack(page, &part, map.as_ref(), epoch)?)),
            }
        }
        Ok(PageWrites::These(writes))
    }

    fn is_refused(&self, page: PageName, part: &MemoryContents, now: Instant) -> bool {
        self.refused.get(&page).is_some_and(|refused| {
            refused.part == *part && now.saturating_duration_since(refused.at) < REFUSED_PAUSE
        })
    }

    /// A page was written.
    pub fn wrote(
        &mut self,
        page: PageName,
        part: MemoryContents,
        metadata: &ObjectMeta,
        epoch: u64,
        now: Instant,
    ) {
        let version = metadata.resource_version.clone().unwrap_or_default();
        self.refused.remove(&page);
        let stored = StoredPage {
            part,
            owned: OwnWrite::new(version, now),
            epoch: Some(epoch),
        };
        self.pages.insert(page, stored);
    }

    /// The API server refused a page.
    pub fn refused(&mut self, page: PageName, part: MemoryContents, why: String, now: Instant) {
        let refused = RefusedPage { part, at: now, why };
        self.refused.insert(page, refused);
    }

    /// Everything that could be written is: from now on this process knows what is remembered.
    pub fn keep(&mut self, next: MemoryContents, epoch: u64) {
        self.contents = Some(next);
        self.epoch = Some(epoch);
    }

    /// Pages that the API server refuses.
    #[must_use]
    pub fn unwritten(&self) -> Vec<UnwrittenPage> {
        let unwritten = self.refused.iter().map(|(page, refused)| UnwrittenPage {
            page: *page,
            namespaces: refused.part.memory.policies.keys().cloned().collect(),
            why: refused.why.clone(),
        });
        unwritten.collect()
    }
}

#[cfg(test)]
mod tests;
