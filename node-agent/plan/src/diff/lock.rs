//! XFRM policies. Blocks come first and go last, so that at no moment an allow stands without its block.

use crate::desired::Desired;
use crate::host::LockPolicy;
use crate::observed::Observed;
use crate::step::Step;

/// Policies that are missing or say something else, blocks first. One that is there with another priority or action
/// is replaced, because the kernel tells policies apart by selector and mark only and refuses a second one (`EEXIST`).
#[must_use]
pub fn additions(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let mut missing: Vec<_> = desired.locks.difference(&observed.locks).cloned().collect();
    missing.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
    let is_there = |policy: &LockPolicy| observed.locks.iter().any(|there| there.is_same(policy));
    missing
        .into_iter()
        .map(|policy| {
            if is_there(&policy) {
                Step::ReplaceLock(policy)
            } else {
                Step::AddLock(policy)
            }
        })
        .collect()
}

/// Policies that nobody wants any more, allows first. What is replaced does not go: removing is by selector and mark
/// too, and would take the new one.
#[must_use]
pub fn removals(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let is_wanted = |policy: &LockPolicy| desired.locks.iter().any(|lock| lock.is_same(policy));
    let gone = observed.locks.iter().filter(|policy| !is_wanted(policy));
    let mut gone: Vec<_> = gone.cloned().collect();
    gone.sort_by_key(|policy| policy.priority);
    gone.into_iter().map(Step::RemoveLock).collect()
}
