//! The planner, from inputs to steps.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, also in its helpers, a value that is not there is a failure"
)]

mod classes;
mod converge;
mod external;
mod frames;
mod limits;
mod names;
mod packets;
mod properties;
mod ranges;
mod records;
mod ruleset;
mod ways;

use postern_host_testing::fixture;
