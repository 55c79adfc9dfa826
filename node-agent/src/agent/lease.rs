//! The kernel's lease: given to a node whose guard was read back, and ended with the body's validity.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use postern_agent_core::GuardReading;
use postern_agent_core::scope_reading::{LeaseReading, lease_stands};
use postern_host::{Host, apply};
use postern_plan::Step;
use postern_plan::order::Stage;
use postern_plan::ruleset::Transaction;

use super::state::{Agent, ExitOpening, LeaseChange};
use crate::audit::Entry;

/// How far the kernel's lease may be from the end of the body's validity before it is given anew.
const AIM_SECONDS: u64 = 5;

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
        let left = verified
            .get()
            .not_after
            .duration_since(self.clock.now())
            .as_secs();
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
        let in_place = self.lease_stands();
        // Between the two looks at the clock the last second may have passed.
        let Some(seconds) = u64::try_from(left).ok().and_then(NonZeroU64::new) else {
            return;
        };
        // A clock that was put right, or a node that slept, moves the end: the kernel's lease is aimed at it again.
        let aimed = self
            .kernel
            .last
            .lease
            .as_ref()
            .is_some_and(|(given, until)| {
                let runs = until.saturating_duration_since(Instant::now()).as_secs();
                given == &digest && runs.abs_diff(seconds.get()) <= AIM_SECONDS
            });
        if aimed && in_place {
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
        self.kernel.last.lease = match self.change_lease(Transaction::lease(seconds)).await {
            true => {
                self.kernel.last.lease_change = LeaseChange::Given;
                Some((digest, Instant::now() + Duration::from_secs(seconds.get())))
            }
            false => None,
        };
    }

    /// Has the validity of the body whose guard the kernel carries run out? Its last second counts as over, because nft
    /// takes a time of 0 s for no end.
    fn lease_is_over(&self) -> bool {
        let read_back = self.kernel.last.read_back.as_ref();
        let body = read_back.and_then(|read_back| read_back.body());
        let now = self.clock.now();
        body.is_some_and(|body| body.not_after.duration_since(now).as_secs() <= 0)
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
