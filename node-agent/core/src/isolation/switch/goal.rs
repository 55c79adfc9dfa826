//! Which uplinks a turn aims at, and what keeps it from aiming at others.

use postern_intent::IfName;
use postern_intent::body::RemoteLinks;
use postern_plan::host::Carrier;

use super::{Turning, uplink_of};
use crate::isolation::finding::HeldLink;
use crate::isolation::memory::{AllowedUplinks, SwitchPhase};
use crate::isolation::selection::choose;

impl Turning<'_> {
    /// The goal of a switch under way whose new order would cut a session: the switch goes on, and the order is held.
    pub(super) fn goes_on_with(&mut self, wanted: &AllowedUplinks) -> Option<AllowedUplinks> {
        let goal = match &self.memory.phase {
            SwitchPhase::Isolating { switch }
            | SwitchPhase::Raising { switch, .. }
            | SwitchPhase::Confirming { switch, .. } => switch.goal.clone(),
            SwitchPhase::Open | SwitchPhase::Preparing { .. } | SwitchPhase::Settled { .. } => {
                return None;
            }
        };
        if goal == *wanted || !self.is_new_order() {
            return None;
        }
        self.held = self.cut_by(wanted);
        self.held.is_some().then_some(goal)
    }

    /// The uplinks that should be up: the pair of the exception while it lasts, else those in use while they work, else the best one.
    pub(super) fn wanted(&self) -> Option<AllowedUplinks> {
        let (isolation, failed) = (self.inputs.isolation, &self.memory.failed);
        let current = match &self.memory.phase {
            SwitchPhase::Preparing { goal, .. } => Some(goal),
            other => other.allowed(),
        };
        if let Some(pair) = self.hotspot()
            && !failed.contains_key(&pair.key())
        {
            return Some(pair);
        }
        let upstream = current.map(|rule| AllowedUplinks::Single {
            uplink: rule.upstream().to_owned(),
        });
        let is_usable = |rule: &AllowedUplinks| {
            let is_there = uplink_of(self.uplinks, rule.upstream()).is_some();
            is_there && !failed.contains_key(rule.upstream())
        };
        if let Some(rule) = upstream.as_ref().filter(|rule| is_usable(rule))
            && !self.is_new_order()
        {
            return Some(rule.clone());
        }
        let best = choose(self.uplinks, isolation, failed)?;
        let best_rule = AllowedUplinks::Single {
            uplink: best.name.clone(),
        };
        // All have failed: to change from one to another would only add outages.
        match upstream.filter(|rule| uplink_of(self.uplinks, rule.upstream()).is_some()) {
            Some(rule) if failed.contains_key(&best.name) => Some(rule),
            _ => Some(best_rule),
        }
    }

    /// The pair of the exception, while it lasts and both are there.
    fn hotspot(&self) -> Option<AllowedUplinks> {
        let pair = self.inputs.isolation.hotspot.as_ref()?;
        let there = |name: &IfName| uplink_of(self.uplinks, name.as_str());
        let (access_point, upstream) = (there(&pair.access_point)?, there(&pair.upstream)?);
        let lasts = self.inputs.now < pair.not_after && access_point.name != upstream.name;
        lasts.then(|| AllowedUplinks::Hotspot {
            access_point: pair.access_point.to_string(),
            upstream: pair.upstream.to_string(),
        })
    }

    /// The first link of the API server or of a session that the goal would cut. An uplink that was left because it lost its
    /// carrier carries neither: a session that is still open on it must not hold the node there.
    pub(super) fn cut_by(&self, goal: &AllowedUplinks) -> Option<HeldLink> {
        if self.inputs.isolation.remote_links == RemoteLinks::Cut {
            return None;
        }
        let is_left = |link: &IfName| {
            let uplink = uplink_of(self.uplinks, link.as_str());
            uplink.is_some_and(|uplink| {
                uplink.carrier != Carrier::Present && self.memory.failed.contains_key(&uplink.name)
            })
        };
        let cut = self.others_up(goal).into_iter();
        let cut = cut.filter(|link| !is_left(link));
        cut.filter_map(|link| {
            let used = self.inputs.remote.get(link.as_str())?;
            Some(HeldLink { link, used: *used })
        })
        .next()
    }
}
