//! From names to what they stand for: an exit to its active gateway, a policy to the exit and the rules in force.

mod exit;
mod policy;

pub(crate) use exit::{ActiveExit, ExitState, Exits};
pub(crate) use policy::{Plan, PlannedWay, Plans, TermsSource};
