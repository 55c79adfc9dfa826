//! The last listing of our tables, for as long as it holds.

use std::time::Duration;

use postern_plan::observed::ObservedFirewall;
use tokio::time::Instant;

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

#[cfg(test)]
mod tests {
    use postern_plan::observed::ObservedTable;

    use super::*;

    fn listing() -> ObservedFirewall {
        ObservedFirewall {
            inet: Some(ObservedTable::default()),
            ..ObservedFirewall::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_holds_for_a_second_and_for_its_own_generation_only() {
        let last = LastListing::of(Some(7), listing());
        assert_eq!(last.current(Some(7)), Some(listing()));
        assert_eq!(last.current(Some(8)), None, "somebody changed a table");
        assert_eq!(last.current(None), None, "the kernel does not say");
        tokio::time::advance(FRESH - Duration::from_millis(1)).await;
        assert_eq!(last.current(Some(7)), Some(listing()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(last.current(Some(7)), None, "counters move without one");
    }

    #[tokio::test]
    async fn a_listing_without_a_generation_is_never_taken_again() {
        let last = LastListing::of(None, listing());
        assert_eq!(last.current(None), None);
        assert_eq!(last.current(Some(7)), None);
        assert_eq!(LastListing::none().current(Some(0)), None);
    }
}
