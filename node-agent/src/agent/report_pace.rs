//! When a report is composed because of what changes often.

use tokio::time::Instant;

use crate::report::EVERY;

/// To compose a report takes time on a large node, and circuits of resolvers may open and close all the time: the first change is
/// reported at once, and later ones together.
#[derive(Debug, Default)]
pub(super) struct ReportPace {
    composed: Option<Instant>,
    due: Option<Instant>,
}

impl ReportPace {
    /// Something to report changed.
    pub(super) fn changed(&mut self) {
        let now = Instant::now();
        let next = self.composed.map_or(now, |at| (at + EVERY).max(now));
        self.due.get_or_insert(next);
    }

    /// When the next report is to be composed; none: nothing changed.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Is a report to be composed now? Then nothing is due after it.
    pub(super) fn takes_turn(&mut self) -> bool {
        let now = Instant::now();
        let takes = self.due.is_some_and(|due| due <= now);
        if takes {
            *self = Self {
                composed: Some(now),
                due: None,
            };
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn the_first_change_is_reported_at_once_and_a_hundred_a_second_once_a_second() {
        let mut pace = ReportPace::default();
        assert!(pace.due().is_none() && !pace.takes_turn());
        let mut turns = Vec::new();
        for tick in 0..300 {
            pace.changed();
            if pace.takes_turn() {
                turns.push(tick);
            }
            tokio::time::advance(TICK).await;
        }
        assert_eq!(turns, [0, 100, 200]);
        // The last change is not lost.
        let due = pace.due().unwrap();
        tokio::time::sleep_until(due).await;
        assert!(pace.takes_turn() && pace.due().is_none());
    }
}
