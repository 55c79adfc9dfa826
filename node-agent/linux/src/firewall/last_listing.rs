//! The last listing of our tables, for as long as it holds.

use std::time::{Duration, Instant};

use postern_plan::observed::ObservedFirewall;

/// The last listing of our tables. Listing takes three processes and parses everything; where the kernel's rules have the
/// generation that they had then, they are those.
pub(crate) struct LastListing {
    generation: Option<u32>,
    read_at: Instant,
    listing: ObservedFirewall,
}

/// Counters and the elements of a lease change without a generation: they are read again after this time.
const FRESH: Duration = Duration::from_secs(1);

impl LastListing {
    /// None yet.
    pub(crate) fn none() -> Self {
        Self::of(None, ObservedFirewall::default())
    }

    /// A listing that was made now, of the ruleset of a generation.
    pub(super) fn of(generation: Option<u32>, listing: ObservedFirewall) -> Self {
        Self {
            generation,
            read_at: Instant::now(),
            listing,
        }
    }

    pub(super) fn current(&self, generation: Option<u32>) -> Option<ObservedFirewall> {
        let is_current =
            generation.is_some() && generation == self.generation && self.read_at.elapsed() < FRESH;
        is_current.then(|| self.listing.clone())
    }
}
