//! Which policy a pod is under. Priority, then name. A policy that was never accepted selects as one that was; a
//! refused update changes neither whom the last good rules are for nor how they rank.

mod all;
mod contender;

pub(crate) use all::Contenders;
pub(crate) use contender::{Contender, Former};
