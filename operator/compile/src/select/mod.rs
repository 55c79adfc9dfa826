//! Which policy a pod is under. Priority, then name. A policy that was never accepted selects as one that was; a
//! refused update changes neither whom the last good rules are for nor how they rank.

mod contender;
mod contenders;

pub(crate) use contender::{Contender, FormerSelection};
pub(crate) use contenders::Contenders;
