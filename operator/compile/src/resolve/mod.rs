//! From names to what they stand for: an exit to its active gateway, a policy to the exit and the rules in force.

mod admin;
mod exit;
mod holder;
mod isolation;
mod policy;
mod session;

pub(crate) use admin::{AdminTier, denied_upstreams};
pub(crate) use exit::{ActiveExit, EgressWait, ExitState, ResolvedExits};
pub(crate) use holder::{SETTLING, remembered_holders};
pub(crate) use isolation::ResolvedIsolations;
pub(crate) use policy::{PlannedPath, PolicyPlan, PolicyPlans, TermsSource, by_setting};
pub(crate) use session::{SessionLack, SessionOffer};
