//! The machine of each scope, fed with what the last run found; and the lease.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_host::{Host, apply};
use postern_intent::body::{FailureMode, Scope, Way};
use postern_intent::{IfName, ScopeId};
use postern_plan::check::Seal;
use postern_plan::desired::{LEASE, used_interface};
use postern_plan::host::Carrier;
use postern_plan::machine::{Event, State, StateKind, step};
use postern_plan::order::Stage;
use postern_plan::ruleset::Transaction;
use postern_plan::{Observed, Step};

use super::state::{Agent, Track};
use crate::audit::Entry;

/// How far the kernel's lease may be from the end of the body's validity before it is given anew.
const AIM_SECONDS: u64 = 5;

impl<H: Host> Agent<H> {
    /// Gives, renews or ends the kernel's lease. Only a sealed node with a valid body gets one.
    pub async fn keep_lease(&mut self) {
        let Some(verified) = &self.verified else {
            return;
        };
        let digest = verified.digest().to_owned();
        let left = verified
            .get()
            .not_after
            .duration_since(self.clock.now())
            .as_secs();
        if self.last.seal != Some(Seal::Sealed) {
            return;
        }
        let standing = self.lease_stands();
        if left <= 0 {
            if standing {
                self.change_lease(Transaction::end_lease()).await;
            }
            self.last.lease = None;
            return;
        }
        let seconds = u64::try_from(left).unwrap_or_default();
        // A clock that was put right, or a node that slept, moves the end: the kernel's lease is aimed at it again.
        let aimed = self.last.lease.as_ref().is_some_and(|(given, until)| {
            let runs = until.saturating_duration_since(Instant::now()).as_secs();
            given == &digest && runs.abs_diff(seconds) <= AIM_SECONDS
        });
        if aimed && standing {
            return;
        }
        if self.lease_was_taken(&digest) {
            self.count("repairs");
            let message = "the lease was removed before its time";
            let line = Entry::of(self.clock.now(), "repair", "Drift", message);
            self.audit.write(&line.about(self.verified.as_ref()));
        }
        self.last.lease = match self.change_lease(Transaction::lease(seconds)).await {
            true => Some((digest, Instant::now() + Duration::from_secs(seconds))),
            false => None,
        };
    }

    /// The kernel's element is gone although its time is not over.
    fn lease_was_taken(&self, digest: &str) -> bool {
        let gone = !self.lease_stands();
        let until = self
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
                self.last
                    .failures
                    .push((Stage::Release, failed.step.to_string(), failed.error));
                false
            }
        }
    }

    fn lease_stands(&self) -> bool {
        let table = self
            .last
            .observed
            .as_ref()
            .and_then(|observed| observed.firewall.inet.as_ref());
        table
            .and_then(|table| table.sets.get(LEASE))
            .is_some_and(|elements| elements.len() == 2)
    }

    /// Every scope takes the events of the last run.
    pub fn advance_scopes(&mut self, now: Timestamp) {
        let scopes: Vec<Scope> = self
            .body()
            .map(|body| body.firewall.clone())
            .unwrap_or_default();
        let named: BTreeSet<ScopeId> = scopes.iter().map(|scope| scope.id.clone()).collect();
        for scope in &scopes {
            for event in self.events(scope) {
                self.feed(&scope.id, event, now);
            }
        }
        let gone: Vec<ScopeId> = self
            .scopes
            .keys()
            .filter(|id| !named.contains(*id))
            .cloned()
            .collect();
        for id in gone {
            self.feed(&id, Event::Dropped, now);
            if self.last.seal == Some(Seal::Sealed) {
                self.feed(&id, Event::ReleaseDone, now);
                self.scopes.remove(&id);
            }
        }
        self.tell_overdue(now);
    }

    /// Which scopes may use the node's uplink, by their state, the body and what a reading shows.
    ///
    /// It is asked before anything is written: an exit that came back, or a body that no longer allows it, closes the
    /// uplink in the run that finds it so. The state follows when the run is over, and so never says more than the
    /// kernel keeps.
    pub fn may_be_open(&self, observed: &Observed) -> BTreeSet<ScopeId> {
        if self.is_expired() {
            return BTreeSet::new();
        }
        let scopes = self.body().map(|body| &body.firewall[..]);
        scopes
            .unwrap_or_default()
            .iter()
            .filter(|scope| matches!(scope.failure, FailureMode::Open { .. }))
            .filter(|scope| self.state(&scope.id).kind() == StateKind::FailedOpen)
            .filter(|scope| self.obstacle(scope, observed).is_some())
            .map(|scope| scope.id.clone())
            .collect()
    }

    fn state(&self, id: &ScopeId) -> State {
        self.scopes
            .get(id)
            .map_or(State::Unclaimed, |track| track.state)
    }

    /// What the last run means for a scope, in order. A scope that is already where that leads gets no event: the
    /// audit log would be full of it.
    fn events(&mut self, scope: &Scope) -> Vec<Event> {
        let hindrance = self.hindrance(scope);
        if let Some(hindrance) = hindrance {
            return self.hindered(scope, hindrance);
        }
        // The exit came back after this run's writing: the uplink is still open, and the next run closes it.
        if self.facts.failed_open.contains(&scope.id) {
            return Vec::new();
        }
        if let Some(track) = self.scopes.get_mut(&scope.id) {
            track.exit_lost_since = None;
        }
        let by_device = self.last.checked.by_device();
        let device = self.device(scope);
        let concerns =
            by_device.contains_key(&device) && device.is_some() || by_device.contains_key(&None);
        if concerns && self.is_blocked_for(scope, Event::ApplyFailed) {
            return Vec::new();
        }
        let mut events = vec![Event::Claimed, Event::SealVerified];
        events.extend(if concerns {
            [Event::ApplyFailed, Event::Mismatched]
        } else {
            [Event::Applied, Event::Verified]
        });
        if self.last.lease.is_some() {
            events.push(Event::LeaseGiven);
        }
        events
    }

    /// What keeps a scope from its way out, the gravest first.
    fn hindrance(&self, scope: &Scope) -> Option<Event> {
        if self.last.seal.unwrap_or(Seal::NotSealed) == Seal::NotSealed {
            return Some(Event::SealFailed);
        }
        if let Way::Blocked { reason } = &scope.way {
            return Some(Event::ClaimedBlocked(*reason));
        }
        if self.is_expired() {
            return Some(Event::Expired);
        }
        self.obstacle(scope, self.last.observed.as_ref()?)
    }

    fn device(&self, scope: &Scope) -> Option<IfName> {
        match &scope.way {
            Way::Tunnel { exit } => self
                .body()
                .and_then(|body| used_interface(body, exit))
                .cloned(),
            Way::LocalExit { .. } | Way::NodeUplink | Way::Blocked { .. } => None,
        }
    }

    /// What keeps a tunnel from carrying: nobody serves it, nobody answers at its other end, and maybe there are no means
    /// to make one. A tunnel that is served carries, whatever else this node could not make today.
    fn obstacle(&self, scope: &Scope, observed: &Observed) -> Option<Event> {
        if !matches!(scope.way, Way::Tunnel { .. }) {
            return None;
        }
        let served = self.device(scope).is_some_and(|device| {
            !self.is_unanswered(&device)
                && observed.tunnels.contains_key(&device)
                && observed
                    .links
                    .iter()
                    .any(|link| link.name == device.as_str() && link.carrier == Carrier::Present)
        });
        if served {
            return None;
        }
        Some(match self.facts.tunnel_backend {
            None => Event::NoTunnel,
            Some(_) => Event::ExitLost,
        })
    }

    /// Blocked; or open, where the exit was lost for as long as the signed body allows to wait.
    fn hindered(&mut self, scope: &Scope, hindrance: Event) -> Vec<Event> {
        let lost = matches!(hindrance, Event::ExitLost | Event::NoTunnel);
        let since = self.scopes.get_mut(&scope.id).and_then(|track| {
            // On a clock that cannot be set: a wall clock that is put right would open the uplink before its time.
            track.exit_lost_since =
                lost.then(|| track.exit_lost_since.unwrap_or_else(Instant::now));
            track.exit_lost_since
        });
        let may_open = match (scope.failure, since) {
            (FailureMode::Open { after_seconds }, Some(since)) => {
                since.elapsed().as_secs() >= u64::from(after_seconds)
            }
            _ => false,
        };
        let is_open = self.state(&scope.id).kind() == StateKind::FailedOpen;
        let mut events = Vec::new();
        if !(is_open && may_open || self.is_blocked_for(scope, hindrance)) {
            events.extend(match hindrance {
                Event::ClaimedBlocked(_) => vec![hindrance],
                Event::SealFailed => vec![Event::Claimed, hindrance],
                _ => vec![Event::Claimed, Event::SealVerified, hindrance],
            });
        }
        if may_open {
            events.push(Event::OpenTimeElapsed);
        }
        events
    }

    /// Is the scope blocked for this very reason already, and is what its block says of the guard still so?
    fn is_blocked_for(&self, scope: &Scope, event: Event) -> bool {
        let holds = self.last.seal.unwrap_or(Seal::NotSealed);
        matches!(self.state(&scope.id), State::Blocked { cause, seal } if cause == event.cause() && seal == holds)
    }

    /// Says which scopes have been on their way for longer than they should be. Every run tries again from the start.
    fn tell_overdue(&mut self, now: Timestamp) {
        let mut overdue = Vec::new();
        for (id, track) in &mut self.scopes {
            let patience = track.state.kind().patience();
            let waited = now.duration_since(track.told.unwrap_or(track.since));
            if patience.is_some_and(|patience| waited >= patience) {
                track.told = Some(now);
                overdue.push((id.clone(), track.state.kind()));
            }
        }
        for (id, state) in overdue {
            tracing::warn!(scope = %id, state = state.word(), "overdue");
            self.count("overdue");
            self.audit.write(&Entry {
                scope: Some(id.as_str()),
                ..Entry::of(now, "overdue", state.word(), "").about(self.verified.as_ref())
            });
        }
    }

    /// One event, one transition, one line in the audit log.
    pub fn feed(&mut self, id: &ScopeId, event: Event, now: Timestamp) {
        let track = self.scopes.entry(id.clone()).or_insert(Track {
            state: State::Unclaimed,
            since: now,
            exit_lost_since: None,
            told: None,
        });
        let before = track.state;
        let after = step(
            before,
            event,
            self.last.seal.unwrap_or(Seal::NotSealed),
            now,
        );
        if after == before {
            return;
        }
        track.state = after;
        track.since = now;
        track.told = None;
        let name = format!("{:?}", event.kind());
        tracing::info!(scope = %id, from = before.kind().word(), to = after.kind().word(), event = name, "transition");
        self.metrics.transition(after.kind().word());
        self.audit.write(&Entry {
            scope: Some(id.as_str()),
            from: Some(before.kind().word().to_owned()),
            to: Some(after.kind().word().to_owned()),
            ..Entry::of(now, "transition", &name, "").about(self.verified.as_ref())
        });
    }
}
