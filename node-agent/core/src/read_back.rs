//! What the kernel shows after a run, and for which body it was read. A report names a body only by a [`ReadBack`], and
//! a read-back is made from a reading: a body that was accepted and not yet read back cannot be called applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_intent::{Body, Verified};
use postern_plan::check::Seal;
use postern_plan::order::{PlanContext, Stage, StepPlan, plan_readable};
use postern_plan::{Desired, Observed};

/// A part of the host that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadPart {
    /// Where in the plan it is missing.
    pub stage: Stage,
    /// What could not be read, as a sentence.
    pub message: String,
}

/// One reading, with its gaps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartialReading {
    /// What was read; a part that was not is empty here, and its stage is among the gaps.
    pub observed: Observed,
    /// Stages that cannot be planned from this reading.
    pub gaps: BTreeSet<Stage>,
    /// Every part that could not be read.
    pub unread: Vec<UnreadPart>,
}

/// A body and what it makes of the host.
#[derive(Debug, Clone)]
pub struct Carried {
    /// The body; none before the first one.
    pub body: Option<Arc<Verified<Body>>>,
    /// The same with the node's choice of gateways ([`crate::exit_choice::steer`]).
    pub steered: Option<Arc<Body>>,
    /// What the host should look like by it.
    pub desired: Arc<Desired>,
}

/// Which guard was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardReading {
    /// The guard that is wanted, whole.
    Wanted,
    /// The guard of an earlier run, whole: the change to the wanted one was refused, and nft changes all or nothing.
    Former,
    /// Neither, or it could not be read: what flows is not known.
    NotWhole,
}

/// What the kernel shows after a run.
///
/// A report takes one, and it is made from a reading:
///
/// ```
/// # use postern_agent_core::read_back::{Carried, GuardReading, PartialReading, ReadBack};
/// # use postern_plan::check::Seal;
/// # use postern_plan::order::{PlanContext, StepPlan};
/// fn read(carried: &Carried, reading: PartialReading, planning: &PlanContext<'_>) -> ReadBack {
///     ReadBack::new(carried, None, reading, planning)
/// }
/// ```
///
/// A body that was accepted and not read back cannot stand in one:
///
/// ```compile_fail
/// # use postern_agent_core::read_back::{Carried, GuardReading, PartialReading, ReadBack};
/// # use postern_plan::check::Seal;
/// # use postern_plan::order::{PlanContext, StepPlan};
/// fn claim(carried: Carried) -> ReadBack {
///     ReadBack {
///         carried,
///         guard: GuardReading::Wanted,
///         lock: Seal::Sealed,
///         differences: StepPlan::default(),
///         reading: PartialReading::default(),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ReadBack {
    carried: Carried,
    guard: GuardReading,
    lock: Seal,
    differences: StepPlan,
    reading: PartialReading,
}

impl ReadBack {
    /// Compares a reading with what is wanted, and where its guard is not there with the one that stood before.
    #[must_use]
    pub fn new(
        wanted: &Carried,
        former: Option<&Carried>,
        reading: PartialReading,
        planning: &PlanContext<'_>,
    ) -> Self {
        let plan = |carried: &Carried| {
            plan_readable(&carried.desired, &reading.observed, &reading.gaps, planning)
        };
        let differences = plan(wanted);
        let is_read = !reading.gaps.contains(&Stage::Guard);
        let stands = |plan: &StepPlan| is_read && plan.seal() == Seal::Sealed;
        let (guard, carried) = if stands(&differences) {
            (GuardReading::Wanted, wanted)
        } else {
            // The former guard is looked for only here: at rest a run compares once.
            match former.filter(|former| stands(&plan(former))) {
                Some(former) => (GuardReading::Former, former),
                None => (GuardReading::NotWhole, wanted),
            }
        };
        let lock = match reading.gaps.contains(&Stage::Lock) {
            true => Seal::NotSealed,
            false => differences.lock(),
        };
        Self {
            carried: carried.clone(),
            guard,
            lock,
            differences,
            reading,
        }
    }

    /// What was read of the firewall.
    #[must_use]
    pub const fn guard(&self) -> GuardReading {
        self.guard
    }

    /// Does a guard stand whole, be it the former one? It depends on the reading of the firewall alone.
    #[must_use]
    pub const fn seal(&self) -> Seal {
        match self.guard {
            GuardReading::Wanted | GuardReading::Former => Seal::Sealed,
            GuardReading::NotWhole => Seal::NotSealed,
        }
    }

    /// Does the second lock stand?
    #[must_use]
    pub const fn lock(&self) -> Seal {
        self.lock
    }

    /// The body whose guard the kernel carries: what a report calls applied.
    #[must_use]
    pub fn applied(&self) -> Option<&Verified<Body>> {
        match self.seal() {
            Seal::Sealed => self.carried.body.as_deref(),
            Seal::NotSealed => None,
        }
    }

    /// The body that the reading was compared with, whether or not its guard was read back, with the node's choice of gateways.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        self.carried.steered.as_deref()
    }

    /// What the host should look like by that body.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        &self.carried.desired
    }

    /// What would have to be done to make the host as it is wanted.
    #[must_use]
    pub const fn differences(&self) -> &StepPlan {
        &self.differences
    }

    #[must_use]
    pub const fn observed(&self) -> &Observed {
        &self.reading.observed
    }

    /// Parts that could not be read.
    #[must_use]
    pub fn unread(&self) -> &[UnreadPart] {
        &self.reading.unread
    }

    /// Was this stage of the host read?
    #[must_use]
    pub fn is_read(&self, stage: Stage) -> bool {
        !self.reading.gaps.contains(&stage)
    }

    /// Was everything read, and is all of it as it is wanted?
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.differences.is_empty() && self.reading.unread.is_empty()
    }
}
