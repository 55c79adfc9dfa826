//! One protocol towards one address: when its next packet is due, and what is counted of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::lab::traffic::send::Tally;

/// One protocol towards one address.
pub(crate) struct Flow {
    number: u16,
    every: Duration,
    tally: Arc<Mutex<Tally>>,
}

impl Flow {
    /// A flow that counts in this tally.
    pub(crate) fn new(number: u16, every: Duration, tally: Arc<Mutex<Tally>>) -> Self {
        Self {
            number,
            every,
            tally,
        }
    }

    /// Waits until the next packet is due.
    pub(crate) fn pace(&self) {
        std::thread::sleep(self.every);
    }

    /// A number of its own among the flows of this process.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Changes the tally of the current second.
    pub(crate) fn tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The value, or nothing and a count of the failure.
    pub(crate) fn noted<T>(&self, result: std::io::Result<T>) -> Option<T> {
        result
            .map_err(|error| self.tally(|tally| tally.failed(&error)))
            .ok()
    }
}
