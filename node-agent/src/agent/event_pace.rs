//! How soon the loop looks again after events of the kernel.

use std::time::Duration;

use tokio::time::Instant;

use super::activation::Activation;
use super::state::FirstReading;

/// Events of the kernel after which nothing was found to do: the next ones wait a little longer each time, so that a
/// program that changes links or addresses all day does not keep the agent at work. A change that a run finds ends the pause.
#[derive(Debug, Default)]
pub(super) struct EventPace {
    pause: Duration,
    until: Option<Instant>,
}

impl EventPace {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(250);

    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.until.filter(|_| !self.is_over())
    }

    pub(super) fn ran(&mut self, activation: Activation, reading: FirstReading) {
        if activation != Activation::HostChanged {
            return;
        }
        self.pause = match reading {
            FirstReading::AsWanted => (self.pause * 2).clamp(Self::FIRST, Self::LONGEST),
            FirstReading::Other => Duration::ZERO,
        };
        self.until = Some(Instant::now() + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the pace pauses after a run, as the clock shows.
    async fn pause_after(
        pace: &mut EventPace,
        activation: Activation,
        reading: FirstReading,
    ) -> Duration {
        let begun = Instant::now();
        pace.ran(activation, reading);
        if let Some(due) = pace.due() {
            tokio::time::sleep_until(due).await;
        }
        assert!(pace.is_over() && pace.due().is_none());
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn events_after_which_nothing_was_to_do_wait_longer_each_time_and_a_change_ends_the_pause()
     {
        let mut pace = EventPace::default();
        assert!(pace.is_over(), "the first event waits for nothing");
        let (event, as_wanted) = (Activation::HostChanged, FirstReading::AsWanted);
        for milliseconds in [50, 100, 200, 250, 250] {
            let pause = pause_after(&mut pace, event, as_wanted).await;
            assert_eq!(pause, Duration::from_millis(milliseconds));
        }
        let pause = pause_after(&mut pace, event, FirstReading::Other).await;
        assert_eq!(pause, Duration::ZERO);
        let pause = pause_after(&mut pace, event, as_wanted).await;
        assert_eq!(pause, EventPace::FIRST, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_no_event_caused_neither_makes_nor_ends_a_pause() {
        let mut pace = EventPace::default();
        for other in [
            Activation::Timer,
            Activation::Retry,
            Activation::IntentChanged,
        ] {
            pace.ran(other, FirstReading::AsWanted);
            assert!(pace.is_over(), "{other}");
        }
        pace.ran(Activation::HostChanged, FirstReading::AsWanted);
        let due = pace.due();
        assert!(due.is_some() && !pace.is_over());
        pace.ran(Activation::Timer, FirstReading::Other);
        assert_eq!(pace.due(), due);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_events_a_second_that_change_nothing_make_four_runs_a_second_at_most() {
        let mut pace = EventPace::default();
        let begun = Instant::now();
        let mut runs = 0;
        for tenth in 0..100 {
            tokio::time::sleep_until(begun + Duration::from_millis(100 * tenth)).await;
            if pace.is_over() {
                pace.ran(Activation::HostChanged, FirstReading::AsWanted);
                runs += 1;
            }
        }
        assert!((30..=40).contains(&runs), "{runs} runs in ten seconds");
    }
}
