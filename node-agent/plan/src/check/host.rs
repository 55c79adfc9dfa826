//! The plan over what was read back, told as differences.

use crate::order::{Stage, StepPlan};
use crate::step::Step;

/// Is the guard in place?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seal {
    /// It was read back, whole.
    Sealed,
    /// It was not, or not whole: what flows is not known.
    NotSealed,
}

impl StepPlan {
    /// The guard holds when nothing would have to be done in the firewall's tightening half. It says nothing of a
    /// firewall that was not read.
    #[must_use]
    pub fn seal(&self) -> Seal {
        self.seal_of(Stage::Guard)
    }

    /// The second lock holds when no policy of it would have to be changed.
    #[must_use]
    pub fn lock(&self) -> Seal {
        self.seal_of(Stage::Lock)
    }

    fn seal_of(&self, stage: Stage) -> Seal {
        if self.stages.iter().any(|(found, _)| *found == stage) {
            Seal::NotSealed
        } else {
            Seal::Sealed
        }
    }

    /// Every difference: the step that would mend it, and its stage.
    pub fn differences(&self) -> impl Iterator<Item = (Stage, &Step)> {
        let stages = self.stages.iter();
        stages.flat_map(|(stage, steps)| steps.iter().map(|step| (*stage, step)))
    }
}
