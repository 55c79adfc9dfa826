//! A word that is said once and heard by whoever waits for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether a pod has to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending(Arc<(Mutex<bool>, Condvar)>);

impl Ending {
    /// The pod has to end.
    pub(super) fn say(&self) {
        let (said, heard) = &*self.0;
        *said.lock().unwrap_or_else(PoisonError::into_inner) = true;
        heard.notify_all();
    }

    /// Waits until it is said.
    pub(super) fn wait(&self) {
        let (said, heard) = &*self.0;
        let mut guard = said.lock().unwrap_or_else(PoisonError::into_inner);
        while !*guard {
            guard = heard.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until it is said, but not longer; answers whether it was.
    pub(super) fn wait_for(&self, time: Duration) -> bool {
        let (said, heard) = &*self.0;
        let guard = said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = heard.wait_timeout_while(guard, time, |said| !*said);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Ending;

    #[test]
    fn whoever_waits_hears_it_and_whoever_asks_later_too() {
        let ending = Ending::default();
        assert!(!ending.wait_for(Duration::ZERO));
        let other = ending.clone();
        let waiting = std::thread::spawn(move || other.wait());
        ending.say();
        waiting.join().unwrap();
        assert!(ending.wait_for(Duration::ZERO));
    }
}
