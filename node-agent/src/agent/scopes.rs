//! The machine of each scope, fed with what the last run found; and the lease.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_host::{Host, apply};
use postern_intent::body::{FailureMode, Scope, Way};
use postern_intent::{IfName, ScopeId};
use postern_plan::Step;
use postern_plan::check::Seal;
use postern_plan::desired::{LEASE, used_interface};
use postern_plan::host::Carrier;
use postern_plan::machine::{Event, State, StateKind, step};
use postern_plan::order::Stage;
use postern_plan::ruleset::Transaction;

use super::state::{Agent, Track};
use crate::audit::Entry;

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
        let given = self
            .last
            .lease
            .as_ref()
            .is_some_and(|(given, _)| given == &digest);
        if given && standing {
            return;
        }
        let left = u64::try_from(left).unwrap_or_default();
        if self.change_lease(Transaction::lease(left)).await {
            self.last.lease = Some((digest, Instant::now() + Duration::from_secs(left)));
        }
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
            for event in self.events(scope, now) {
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
                self.facts.failed_open.remove(&id);
            }
        }
    }

    /// What the last run means for a scope, in order.
    fn events(&mut self, scope: &Scope, now: Timestamp) -> Vec<Event> {
        let seal = self.last.seal.unwrap_or(Seal::NotSealed);
        if seal == Seal::NotSealed {
            return vec![Event::Claimed, Event::SealFailed];
        }
        if let Way::Blocked { reason } = &scope.way {
            return vec![Event::ClaimedBlocked(*reason)];
        }
        if self.is_expired() {
            return vec![Event::Claimed, Event::SealVerified, Event::Expired];
        }
        let device = self.device(scope);
        if let Some(obstacle) = self.obstacle(scope, device.as_ref()) {
            return self.lost(scope, obstacle, now);
        }
        if let Some(track) = self.scopes.get_mut(&scope.id) {
            track.exit_lost_since = None;
        }
        self.facts.failed_open.remove(&scope.id);
        let waits = self.scopes.get(&scope.id).is_none_or(|track| {
            matches!(
                track.state.kind(),
                StateKind::Unclaimed
                    | StateKind::Blocked
                    | StateKind::FailedOpen
                    | StateKind::Releasing
            )
        });
        let mut events = Vec::new();
        if waits {
            events.push(Event::Claimed);
        }
        events.push(Event::SealVerified);
        let by_device = self.last.checked.by_device();
        let concerns =
            by_device.contains_key(&device) && device.is_some() || by_device.contains_key(&None);
        events.push(if concerns {
            Event::ApplyFailed
        } else {
            Event::Applied
        });
        events.push(if concerns {
            Event::Mismatched
        } else {
            Event::Verified
        });
        if self.last.lease.is_some() {
            events.push(Event::LeaseGiven);
        }
        events
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

    /// What keeps a tunnel from carrying: no means to make one, no device, or nobody who serves it.
    fn obstacle(&self, scope: &Scope, device: Option<&IfName>) -> Option<Event> {
        if !matches!(scope.way, Way::Tunnel { .. }) {
            return None;
        }
        if self.facts.tunnel_backend.is_none() {
            return Some(Event::NoTunnel);
        }
        let observed = self.last.observed.as_ref()?;
        let served = device.is_some_and(|device| {
            observed.tunnels.contains_key(device)
                && observed
                    .links
                    .iter()
                    .any(|link| link.name == device.as_str() && link.carrier == Carrier::Present)
        });
        (!served).then_some(Event::ExitLost)
    }

    /// A lost exit: blocked, or open after the time that the signed body allows.
    fn lost(&mut self, scope: &Scope, obstacle: Event, now: Timestamp) -> Vec<Event> {
        let since = self
            .scopes
            .get_mut(&scope.id)
            .map(|track| *track.exit_lost_since.get_or_insert(now));
        let mut events = vec![];
        let open = match (scope.failure, since) {
            (FailureMode::Open { after_seconds }, Some(since)) => {
                now.duration_since(since).as_secs() >= i64::from(after_seconds)
            }
            _ => false,
        };
        let state = self.scopes.get(&scope.id).map(|track| track.state.kind());
        if state != Some(StateKind::Blocked) && state != Some(StateKind::FailedOpen) {
            events.extend([Event::Claimed, Event::SealVerified, obstacle]);
        }
        if open {
            events.push(Event::OpenTimeElapsed);
            self.facts.failed_open.insert(scope.id.clone());
        }
        events
    }

    /// One event, one transition, one line in the audit log.
    pub fn feed(&mut self, id: &ScopeId, event: Event, now: Timestamp) {
        let track = self.scopes.entry(id.clone()).or_insert(Track {
            state: State::Unclaimed,
            since: now,
            exit_lost_since: None,
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
        let name = format!("{:?}", event.kind());
        tracing::info!(scope = %id, from = before.kind().word(), to = after.kind().word(), event = name, "transition");
        self.metrics.transition(after.kind().word());
        let body = self.verified.as_ref();
        self.audit.write(&Entry {
            scope: Some(id.as_str()),
            from: Some(before.kind().word().to_owned()),
            to: Some(after.kind().word().to_owned()),
            serial: body.map(|body| body.get().serial.0),
            digest: body.map(postern_intent::Verified::digest),
            trace_id: body.and_then(|body| body.get().trace_id.as_deref()),
            ..Entry::of(now, "transition", &name, "")
        });
    }
}
