//! The newest revision that this process has seen of one resource. Resource versions can be compared within one resource
//! only (KEP-5504): leases and namespaces may be in different stores, whose revisions have nothing to do with each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The newest revision of one resource; clones share it.
#[derive(Debug, Clone, Default)]
pub struct NewestRevision(Arc<AtomicU64>);

impl NewestRevision {
    /// The newest revision; none: none was seen.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            newest => Some(newest),
        }
    }

    /// An object or a list of the resource had this version. One that is no number says nothing.
    pub fn saw(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|text| text.parse().ok()) {
            self.0.fetch_max(version, Ordering::AcqRel);
        }
    }
}
