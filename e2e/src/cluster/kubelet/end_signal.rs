//! A signal to the thread of one pod that the pod has to end.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether a pod has to end. Clones are the same signal.
#[derive(Clone, Debug, Default)]
pub(super) struct EndSignal(Arc<(Mutex<bool>, Condvar)>);

impl EndSignal {
    /// Sends the signal; it stays sent.
    pub(super) fn send(&self) {
        let (sent, condition) = &*self.0;
        *sent.lock().unwrap_or_else(PoisonError::into_inner) = true;
        condition.notify_all();
    }

    /// Waits for the signal.
    pub(super) fn wait(&self) {
        let (sent, condition) = &*self.0;
        let mut guard = sent.lock().unwrap_or_else(PoisonError::into_inner);
        while !*guard {
            guard = condition
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the signal, at most for this time, and returns whether it was sent.
    pub(super) fn wait_for(&self, time: Duration) -> bool {
        let (sent, condition) = &*self.0;
        let guard = sent.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = condition.wait_timeout_while(guard, time, |sent| !*sent);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::EndSignal;

    #[test]
    fn a_signal_reaches_a_thread_that_waits_and_one_that_asks_later() {
        let end_signal = EndSignal::default();
        assert!(!end_signal.wait_for(Duration::ZERO));
        let other = end_signal.clone();
        let waiting = std::thread::spawn(move || other.wait());
        end_signal.send();
        waiting.join().unwrap();
        assert!(end_signal.wait_for(Duration::ZERO));
    }
}
