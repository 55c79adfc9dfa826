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
