//! The plan over what was read back, told as mismatches.

use std::collections::BTreeMap;
use std::fmt;

use postern_intent::IfName;

use crate::desired::Desired;
use crate::observed::Observed;
use crate::order::{Plan, Planning, Stage, plan};
use crate::step::Step;

/// A difference found by reading the kernel back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where it stands.
    pub stage: Stage,
    /// The step that would mend it.
    pub step: Step,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage.word(), self.step)
    }
}

/// What the kernel shows, against what it should show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Every difference.
    pub mismatches: Vec<Mismatch>,
    /// What would mend them.
    pub plan: Plan,
}

/// Is the guard in place?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seal {
    /// It was read back, whole.
    Sealed,
    /// It was not, or not whole: what flows is not known.
    NotSealed,
}

/// Reads the host against the plan.
#[must_use]
pub fn check(desired: &Desired, observed: &Observed, planning: &Planning<'_>) -> Checked {
    let plan = plan(desired, observed, planning);
    let mismatches = plan
        .stages
        .iter()
        .flat_map(|(stage, steps)| {
            steps.iter().map(|step| Mismatch {
                stage: *stage,
                step: step.clone(),
            })
        })
        .collect();
    Checked { mismatches, plan }
}

impl Checked {
    /// The guard holds when no mismatch stands in the firewall's tightening half.
    #[must_use]
    pub fn seal(&self) -> Seal {
        if self
            .mismatches
            .iter()
            .any(|mismatch| mismatch.stage == Stage::Guard)
        {
            Seal::NotSealed
        } else {
            Seal::Sealed
        }
    }

    /// The second lock holds.
    #[must_use]
    pub fn lock(&self) -> Seal {
        if self
            .mismatches
            .iter()
            .any(|mismatch| mismatch.stage == Stage::Lock)
        {
            Seal::NotSealed
        } else {
            Seal::Sealed
        }
    }

    /// Mismatches by tunnel device, for the scopes that leave by it. Those of no device concern every scope.
    #[must_use]
    pub fn by_device(&self) -> BTreeMap<Option<IfName>, Vec<&Mismatch>> {
        let mut out: BTreeMap<Option<IfName>, Vec<&Mismatch>> = BTreeMap::new();
        for mismatch in &self.mismatches {
            out.entry(device(&mismatch.step))
                .or_default()
                .push(mismatch);
        }
        out
    }
}

fn device(step: &Step) -> Option<IfName> {
    use crate::host::RouteKind;
    match step {
        Step::AddLink(link) | Step::RemoveLink(link) | Step::SetMtu(link) => {
            Some(link.name.clone())
        }
        Step::SetDevice(setting) => Some(setting.device.clone()),
        Step::SetUp(name) => Some(name.clone()),
        Step::AddAddress { device, .. }
        | Step::RemoveAddress { device, .. }
        | Step::RemovePeer { device, .. } => Some(device.clone()),
        Step::ConfigureTunnel(config) => Some(config.interface.clone()),
        Step::AddRoute(route) | Step::RemoveRoute(route) => match &route.kind {
            RouteKind::Device(name) => Some(name.clone()),
            RouteKind::Unreachable => None,
        },
        Step::Firewall(_)
        | Step::CutFlows(_)
        | Step::AddLock(_)
        | Step::ReplaceLock(_)
        | Step::RemoveLock(_)
        | Step::AddRule(_)
        | Step::RemoveRule(_) => None,
    }
}
