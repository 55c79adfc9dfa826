//! The planner, from inputs to steps.

mod converge;
mod fixture;
mod properties;
mod ruleset;
mod standing;
