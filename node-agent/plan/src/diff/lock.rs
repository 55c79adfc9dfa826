//! XFRM policies. Blocks come first and go last, so that at no moment an allow stands without its block.

use crate::desired::Desired;
use crate::observed::Observed;
use crate::step::Step;

/// Policies that are missing, blocks first.
#[must_use]
pub fn additions(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut missing: Vec<_> = desired.locks.difference(&observed.locks).cloned().collect();
    missing.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
    missing.into_iter().map(Step::AddLock).collect()
}

/// Policies that nobody wants any more, allows first.
#[must_use]
pub fn removals(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut gone: Vec<_> = observed.locks.difference(&desired.locks).cloned().collect();
    gone.sort_by_key(|policy| policy.priority);
    gone.into_iter().map(Step::RemoveLock).collect()
}
