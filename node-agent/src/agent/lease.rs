//! The kernel's lease: given to a node whose guard was read back, and ended with the body's validity.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_agent_core::GuardReading;
use postern_agent_core::scope_reading::{LeaseReading, lease_stands};
use postern_host::{Host, apply};
use postern_plan::Step;
use postern_plan::order::Stage;
use postern_plan::ruleset::Transaction;

use super::state::{Agent, ExitOpening, LeaseChange};
use crate::audit::Entry;

/// How much sooner than wanted the kernel's lease may end before it is given anew.
const EARLY_SECONDS: u64 = 5;

/// How much later than wanted it may end. Less than [`MARGIN_SECONDS`] and the cut-off fraction of a second together.
const LATE_SECONDS: u64 = 1;

/// How long before the body's validity the kernel's lease ends. The kernel counts from the moment of the commit and not
/// from the one in which the agent looked at the clock, and an agent that dies in between cannot correct it.
const MARGIN_SECONDS: u64 = 1;

/// How often a lease is given in one run: again where the commit took longer than the one before. More tries would keep the
/// agent from requests of the CNI plugin where every commit is slow.
const TRIES: usize = 2;

impl<H: Host> Agent<H> {
    /// Gives, renews or ends the kernel's lease. Only a sealed node with a valid body gets one.
    pub async fn keep_lease(&mut self) {
        if self.lease_is_over() {
            // Whichever guard stands: a former one's lease ends with the former body too.
            if self.lease_stands() && self.change_lease(Transaction::end_lease()).await {
                self.kernel.last.lease_change = LeaseChange::Ended;
            }
            self.kernel.last.lease = None;
            return;
        }
        if self.exits.opening == ExitOpening::Held {
            return;
        }
        let Some(verified) = &self.documents.verified else {
            return;
        };
        let digest = verified.digest().to_owned();
        let not_after = verified.get().not_after;
        // The former guard has the former body's lease, which runs out with that body's validity.
        let guard = self
            .kernel
            .last
            .read_back
            .as_ref()
            .map(|read_back| read_back.guard());
        if guard != Some(GuardReading::Wanted) {
            return;
        }
        // Between the two looks at the clock the last second may have passed.
        let Some(seconds) = lease_seconds(not_after, self.clock.now()) else {
            return;
        };
        // A clock that was put right, or a node that slept, moves the end: the kernel's lease is aimed at it again.
        let given = self.kernel.last.lease.as_ref();
        let aimed = given.is_some_and(|(given, until)| {
            let runs = until.saturating_duration_since(Instant::now());
            // Rounded up: it must not end later than it seems to.
            let runs = runs.as_secs() + u64::from(runs.subsec_nanos() > 0);
            given == &digest && is_aimed(runs, seconds)
        });
        if aimed && self.lease_stands() {
            return;
        }
        if self.lease_was_taken(&digest) {
            self.count("repairs");
            let message = "the lease was removed before its time";
            let line = Entry::of(self.clock.now(), "repair", "Drift", message);
            self.output
                .audit
                .write(&line.about(self.documents.verified.as_deref()));
        }
        for _ in 0..TRIES {
            let slow = self.kernel.last.lease_commit;
            let Some(seconds) = lease_seconds(not_after, self.clock.now() + slow) else {
                return self.end_late_lease(not_after).await;
            };
            let begun = Instant::now();
            if !self.change_lease(Transaction::lease(seconds)).await {
                self.kernel.last.lease = None;
                return;
            }
            self.kernel.last.lease_change = LeaseChange::Given;
            let until = Instant::now() + Duration::from_secs(seconds.get());
            self.kernel.last.lease = Some((digest.clone(), until));
            self.kernel.last.lease_commit = begun.elapsed();
            // A commit that took longer than expected gave a lease that ends too late by that much.
            if self.kernel.last.lease_commit <= slow + Duration::from_secs(LATE_SECONDS) {
                return;
            }
        }
    }

    /// A commit may take longer than what is left of the validity. A lease that would run on for longer is ended, and the next run
    /// expects nothing of its commit.
    async fn end_late_lease(&mut self, not_after: Timestamp) {
        self.kernel.last.lease_commit = Duration::ZERO;
        let left = lease_seconds(not_after, self.clock.now()).map_or(0, NonZeroU64::get);
        let latest = Instant::now() + Duration::from_secs(left + LATE_SECONDS);
        let given = self.kernel.last.lease.as_ref();
        let is_late = given.is_none_or(|(_, until)| *until > latest);
        let stands = self.lease_reading() == LeaseReading::Stands;
        if is_late && stands && self.change_lease(Transaction::end_lease()).await {
            self.kernel.last.lease_change = LeaseChange::Ended;
            self.kernel.last.lease = None;
        }
    }

    /// Has the lease of the body whose guard the kernel carries run out?
    fn lease_is_over(&self) -> bool {
        let read_back = self.kernel.last.read_back.as_ref();
        let body = read_back.and_then(|read_back| read_back.body());
        let now = self.clock.now();
        body.is_some_and(|body| lease_seconds(body.not_after, now).is_none())
    }

    /// The kernel's element is gone although its time is not over.
    fn lease_was_taken(&self, digest: &str) -> bool {
        let gone = !self.lease_stands();
        let until = self
            .kernel
            .last
            .lease
            .as_ref()
            .filter(|(given, _)| given == digest);
        gone && until.is_some_and(|(_, until)| Instant::now() < *until)
    }

    async fn change_lease(&mut self, transaction: Transaction) -> bool {
        let applied = apply(&self.host, &[Step::Firewall(transaction)]).await;
        match applied.failed {
            None => true,
            Some(failed) => {
                self.kernel.last.failures.push((
                    Stage::Release,
                    failed.step.to_string(),
                    failed.error,
                ));
                false
            }
        }
    }

    fn lease_stands(&self) -> bool {
        let read_back = self.kernel.last.read_back.as_ref();
        read_back.is_some_and(|read_back| lease_stands(read_back.observed()))
    }

    /// The lease of the body whose guard the kernel carries: as it was read, and as this run changed it since.
    pub(crate) fn lease_reading(&self) -> LeaseReading {
        let stands = match self.kernel.last.lease_change {
            LeaseChange::None => self.lease_stands(),
            LeaseChange::Given => true,
            LeaseChange::Ended => false,
        };
        match (self.lease_is_over(), stands) {
            (false, true) => LeaseReading::Stands,
            (false, false) => LeaseReading::Missing,
            (true, true) => LeaseReading::Overdue,
            (true, false) => LeaseReading::Expired,
        }
    }
}

/// For how many seconds a lease is given at `now`; none when it is over. nft takes a time of 0 s for no end.
fn lease_seconds(not_after: Timestamp, now: Timestamp) -> Option<NonZeroU64> {
    let left = u64::try_from(not_after.duration_since(now).as_secs()).ok()?;
    NonZeroU64::new(left.saturating_sub(MARGIN_SECONDS))
}

/// Does a lease that runs for so many seconds end close enough to the wanted time?
fn is_aimed(runs: u64, wanted: NonZeroU64) -> bool {
    runs <= wanted.get() + LATE_SECONDS && wanted.get() <= runs + EARLY_SECONDS
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_lease_ends_a_second_or_two_before_the_validity_and_is_over_in_its_last_second() {
        let seconds = |millis| {
            let not_after = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis);
            lease_seconds(not_after, Timestamp::UNIX_EPOCH).map(NonZeroU64::get)
        };
        assert_eq!(seconds(12_000), Some(11));
        assert_eq!(seconds(11_999), Some(10));
        assert_eq!(seconds(2_000), Some(1));
        for over in [1_999, 1_000, 0, -5_000] {
            assert_eq!(seconds(over), None, "{over} ms");
        }
    }

    #[test]
    fn a_lease_may_end_five_seconds_early_and_one_late() {
        let wanted = NonZeroU64::new(60).unwrap();
        let aimed: Vec<u64> = (0..200).filter(|runs| is_aimed(*runs, wanted)).collect();
        assert_eq!(aimed, (55..=61).collect::<Vec<u64>>());
    }
}
