//! A term: from taking the lease to losing it. A writer checks first whether it still lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// It waits for the lease.
    Standby,
    Leading {
        /// Which term this is: grows with every change of hands.
        epoch: u64,
        /// Until when it may write, on the monotonic clock.
        until: Instant,
    },
}

#[derive(Debug, Clone)]
pub struct LeaseTerm {
    state: watch::Receiver<LeaseState>,
    floor: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
pub struct TermWriter {
    state: Arc<watch::Sender<LeaseState>>,
    floor: Arc<AtomicU64>,
}

/// A pair that begins as standby.
#[must_use]
pub fn term() -> (TermWriter, LeaseTerm) {
    let (sender, receiver) = watch::channel(LeaseState::Standby);
    let floor = Arc::new(AtomicU64::new(0));
    let writer = TermWriter {
        state: Arc::new(sender),
        floor: Arc::clone(&floor),
    };
    let state = receiver;
    (writer, LeaseTerm { state, floor })
}

impl TermWriter {
    /// The lease was taken or renewed by a request that was sent at `sent`.
    pub fn lead(&self, epoch: u64, sent: Instant, renew_deadline: Duration) {
        let until = sent + renew_deadline;
        self.state
            .send_replace(LeaseState::Leading { epoch, until });
    }

    pub fn end(&self) {
        self.state.send_replace(LeaseState::Standby);
    }

    /// The lowest epoch that may be led under.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }
}

impl LeaseTerm {
    /// The epoch, if this process may write at `now`. Asked before each write: a process that was stopped for a while
    /// finds out here, and what it had already sent is refused by the API server, since a new leader has touched
    /// every object that a node reads before it compiles ([`super::look_at_stamps`]).
    #[must_use]
    pub fn epoch(&self, now: Instant) -> Option<u64> {
        match *self.state.borrow() {
            LeaseState::Leading { epoch, until } if now < until => Some(epoch),
            LeaseState::Leading { .. } | LeaseState::Standby => None,
        }
    }

    #[must_use]
    pub fn state(&self) -> LeaseState {
        *self.state.borrow()
    }

    /// Objects carry this epoch already, or a higher one: the next renewal goes above it. The lease counts from the
    /// start again when somebody deletes it.
    pub fn go_above(&self, epoch: u64) {
        self.floor
            .fetch_max(epoch.saturating_add(1), Ordering::AcqRel);
    }

    /// Waits until this process begins to lead.
    pub async fn begun(&mut self) {
        self.changed_to(leads).await;
    }

    /// Waits until this process does not lead.
    pub async fn ended(&mut self) {
        self.changed_to(|state| !leads(state)).await;
    }

    async fn changed_to(&mut self, is_wanted: impl FnMut(&LeaseState) -> bool) {
        // An error means that nobody renews any more, which ends the process by itself.
        if self.state.wait_for(is_wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

const fn leads(state: &LeaseState) -> bool {
    matches!(state, LeaseState::Leading { .. })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::term;

    #[test]
    fn a_term_ends_by_itself_when_nobody_renews_it() {
        let (writer, term) = term();
        let sent = Instant::now();
        assert_eq!(term.epoch(sent), None);
        writer.lead(3, sent, Duration::from_secs(10));
        assert_eq!(term.epoch(sent + Duration::from_secs(9)), Some(3));
        assert_eq!(term.epoch(sent + Duration::from_secs(10)), None);
        writer.lead(3, sent + Duration::from_secs(8), Duration::from_secs(10));
        assert_eq!(term.epoch(sent + Duration::from_secs(17)), Some(3));
        writer.end();
        assert_eq!(term.epoch(sent), None);
    }
}
