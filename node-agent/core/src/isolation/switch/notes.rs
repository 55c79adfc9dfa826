//! What a turn remembers before it decides: how links were, whose order it is, and how long the uplink in use is silent.

use postern_plan::host::{AdminState, Carrier};

use super::{CARRIER_WAIT, RETRY_AFTER, Turning, uplink_of};
use crate::isolation::act::UplinkAct;
use crate::isolation::memory::{FailedUplink, SwitchFailure, SwitchPhase};

impl Turning<'_> {
    /// The state of a link when the isolation begins, or when it comes later, is the one that it gets back. While nothing is
    /// enforced, links belong to others and nothing is noted. A link that counts no more, because it is excluded now, comes up
    /// again if the isolation brought it down.
    pub(super) fn note_links(&mut self) {
        let baseline = &mut self.memory.baseline;
        for link in self.inputs.links {
            if uplink_of(self.uplinks, &link.name).is_none() {
                if baseline.get(&link.name) == Some(&AdminState::Up)
                    && link.state == AdminState::Down
                {
                    self.acts
                        .extend(link.name.parse().ok().map(UplinkAct::SetUp));
                } else {
                    baseline.remove(&link.name);
                }
            } else if self.memory.phase != SwitchPhase::Open {
                baseline.entry(link.name.clone()).or_insert(link.state);
            }
        }
    }

    /// A link in use that has not got back what it lost gets it before anything is asked by it.
    pub(super) fn restore_links(&mut self) {
        let rule = match &self.memory.phase {
            SwitchPhase::Raising { switch, .. } | SwitchPhase::Confirming { switch, .. } => {
                &switch.goal
            }
            SwitchPhase::Settled { allowed } => allowed,
            SwitchPhase::Open | SwitchPhase::Preparing { .. } | SwitchPhase::Isolating { .. } => {
                return;
            }
        };
        let used = self
            .uplinks
            .iter()
            .filter(|uplink| rule.allows(&uplink.members));
        let lacking = used
            .flat_map(|uplink| &uplink.up)
            .filter(|name| self.memory.taken.contains_key(*name));
        let acts = lacking.filter_map(|name| name.parse().ok());
        let acts: Vec<UplinkAct> = acts.map(UplinkAct::Restore).collect();
        self.acts.splice(0..0, acts);
    }

    /// Another section is another order: what failed under the former one is tried again. It is remembered once the order is
    /// begun, so that one that is held is still a new one at the next turn.
    pub(super) fn note_order(&mut self) {
        if self.is_new_order() {
            self.memory.failed.clear();
            self.memory.rollback = None;
            self.memory.silent_since = None;
        }
    }

    pub(super) fn is_new_order(&self) -> bool {
        self.memory.digest.as_ref() != Some(&self.inputs.isolation.digest)
    }

    pub(super) fn take_order(&mut self) {
        self.memory.digest = Some(self.inputs.isolation.digest.clone());
    }

    /// An uplink in use that loses its carrier for too long has failed; the others may be tried again then.
    pub(super) fn note_carrier(&mut self) {
        let now = self.inputs.now;
        let SwitchPhase::Settled { allowed } = self.memory.phase.clone() else {
            self.memory.silent_since = None;
            return;
        };
        let upstream = uplink_of(self.uplinks, allowed.upstream());
        if upstream.is_some_and(|uplink| uplink.carrier == Carrier::Present) {
            self.memory.silent_since = None;
            let lost = |failed: &FailedUplink| failed.reason == SwitchFailure::NoCarrier;
            let key = allowed.key();
            self.memory
                .failed
                .retain(|name, failed| *name != key || !lost(failed));
            return;
        }
        let since = *self.memory.silent_since.get_or_insert(now);
        if now.duration_since(since) < CARRIER_WAIT {
            self.wakes(since + CARRIER_WAIT);
            return;
        }
        let key = allowed.key();
        self.memory
            .failed
            .retain(|_, failed| now.duration_since(failed.at) < RETRY_AFTER);
        let failed = FailedUplink {
            reason: SwitchFailure::NoCarrier,
            at: since,
        };
        self.memory.failed.insert(key, failed);
        self.wakes(now + RETRY_AFTER);
    }
}
