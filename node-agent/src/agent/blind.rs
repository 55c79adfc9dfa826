//! What can be done where a part of the host cannot be read or changed: each block is tried for itself, because the
//! lock does not need nft, and the guard does not need the lock.

use std::collections::BTreeSet;

use postern_host::{Host, Nature, Part, Reading, Unread, apply, is_own_link};
use postern_plan::check::Seal;
use postern_plan::diff;
use postern_plan::diff::firewall::{FirewallState, change};
use postern_plan::order::Stage;
use postern_plan::settings::SecondLock;
use postern_plan::{Desired, Observed, Step};

use super::state::Agent;

const fn stage_of(part: Part) -> Stage {
    match part {
        Part::Firewall => Stage::Guard,
        Part::Locks => Stage::Lock,
        Part::Links | Part::Devices | Part::Uplinks => Stage::Link,
        Part::Routes | Part::Rules => Stage::Route,
    }
}

impl<H: Host> Agent<H> {
    /// What this node can do, whatever else of it can be read.
    pub(super) async fn look_around(&mut self, reading: &Reading) {
        match self.host.tunnel_backend().await {
            Ok(backend) => self.facts.tunnel_backend = Some(backend),
            Err(error) if error.nature() == Nature::Transient => {}
            // A device that is there needs nobody to make it.
            Err(_) if has_tunnels(reading) && self.facts.tunnel_backend.is_some() => {}
            Err(_) => self.facts.tunnel_backend = None,
        }
        if let Ok(links) = &reading.links
            && let Err(error) = self.look_at_paths(links).await
        {
            let what = "look for ways past the guard".to_owned();
            self.last.failures.push((Stage::Route, what, error));
        }
    }

    /// A kernel without XFRM has no policy, and can be given none: the guard stands alone.
    pub(super) fn go_without_lock(&mut self, reading: &mut Reading) {
        if let Err(error) = &reading.locks
            && error.nature() == Nature::Unsupported
        {
            self.settings.second_lock = SecondLock::Off;
            self.last.no_lock = Some(error.clone());
            reading.locks = Ok(BTreeSet::new());
        }
    }

    /// Writes the guard and the lock without the whole picture, and says of the lock whether it stands.
    pub(super) async fn work_blind(&mut self, reading: Reading, unread: &[Unread]) {
        for part in unread {
            tracing::error!(
                error = part as &dyn std::error::Error,
                "a part of the host cannot be read"
            );
            let failure = (stage_of(part.part), part.to_string(), part.source.clone());
            self.last.failures.push(failure);
        }
        let desired = Desired::from_inputs(&self.inputs());
        let state = match &reading.firewall {
            Ok(firewall) => FirewallState::read(firewall, &desired.ruleset, &self.learned),
            Err(_) => FirewallState::default(),
        };
        let guard = change(&state, &desired.ruleset).guard;
        let mut steps = Vec::new();
        if !guard.is_empty() {
            steps.push((Stage::Guard, Step::Firewall(guard)));
        }
        let locks_are_known = reading.locks.is_ok();
        let seen = Observed {
            locks: reading.locks.unwrap_or_default(),
            ..Observed::default()
        };
        let mut locks = diff::lock::additions(&desired, &seen);
        if locks_are_known {
            locks.extend(diff::lock::removals(&desired, &seen));
        }
        steps.extend(locks.into_iter().map(|step| (Stage::Lock, step)));
        for (stage, step) in steps {
            let applied = apply(&self.host, std::slice::from_ref(&step)).await;
            if let Some(failed) = applied.failed {
                let failure = (stage, failed.step.to_string(), failed.error);
                self.last.failures.push(failure);
            }
        }
        let stands = self.host.list_locks().await;
        self.last.lock = Some(match stands {
            Ok(locks) if locks == desired.locks => Seal::Sealed,
            _ => Seal::NotSealed,
        });
        let cuts = diff::flow::cuts(&self.desired, &desired, self.body());
        self.owed_cuts.extend(cuts);
        self.desired = desired;
    }

    /// Can this node have a guard at all? Only what was tried counts: nft is not installed, or the kernel has no tables.
    #[must_use]
    pub fn has_no_guard(&self) -> bool {
        self.last.failures.iter().any(|(stage, _, error)| {
            *stage == Stage::Guard && error.nature() == Nature::Unsupported
        })
    }
}

fn has_tunnels(reading: &Reading) -> bool {
    reading
        .links
        .as_ref()
        .is_ok_and(|links| links.iter().any(|link| is_own_link(&link.name)))
}
