//! Steps that fail again and again. Our own attempts make events of the kernel, such as a device that comes and goes, and
//! events wake the loop: without a pause of its own, a step that can never work would be tried as fast as the kernel
//! answers.

use std::time::{Duration, Instant};

use postern_host::{Failed, HostError};
use postern_plan::Step;
use postern_plan::order::Stage;

use super::activation::Activation;

/// The first pause; each further failure doubles it.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause of what blocks: it is never given up for long.
const LONGEST_OF_BLOCKS: Duration = Duration::from_secs(1);
/// The longest pause of anything else.
const LONGEST: Duration = Duration::from_secs(60);

/// Steps that failed and are not tried again yet because the kernel says that something changed. Documents, bindings,
/// root and the loop's own timers, which have a pace of their own, try everything.
#[derive(Debug, Default)]
pub struct HeldBack(Vec<DelayedStep>);

#[derive(Debug, Clone)]
pub struct DelayedStep {
    step: Step,
    /// What its last try ended with.
    pub error: HostError,
    pause: Duration,
    until: Instant,
}

impl HeldBack {
    /// The step of a group that keeps the whole group waiting, if one does.
    #[must_use]
    pub fn holds(&self, group: &[Step], activation: Activation) -> Option<&DelayedStep> {
        if activation != Activation::HostChanged {
            return None;
        }
        let now = Instant::now();
        let mut waiting = self.0.iter().filter(|held| now < held.until);
        waiting.find(|held| group.contains(&held.step))
    }

    pub fn failed(&mut self, stage: Stage, failed: &Failed) {
        let now = Instant::now();
        // What nobody has wanted for a long time is another matter when it is wanted again.
        self.0
            .retain(|held| now.saturating_duration_since(held.until) < LONGEST);
        let longest = if stage.blocks() {
            LONGEST_OF_BLOCKS
        } else {
            LONGEST
        };
        let known = self.0.iter().position(|held| held.step == failed.step);
        let before = known.map(|at| self.0.swap_remove(at).pause);
        let pause = before.map_or(FIRST, |pause| (pause * 2).min(longest));
        self.0.push(DelayedStep {
            step: failed.step.clone(),
            error: failed.error.clone(),
            pause,
            until: now + pause,
        });
    }

    pub fn done(&mut self, steps: &[Step]) {
        self.0.retain(|held| !steps.contains(&held.step));
    }
}

impl DelayedStep {
    #[must_use]
    pub const fn step(&self) -> &Step {
        &self.step
    }
}
