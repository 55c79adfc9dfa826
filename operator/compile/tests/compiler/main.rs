//! The compiler as a whole: stories with their outcomes, and what holds for every cluster.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, also in a function that tests share; stories are files"
)]

mod baseline;
mod ceilings;
mod changes;
mod egress;
mod external;
mod gates;
mod isolated;
mod keys;
mod memory;
mod nodes;
mod paths;
mod properties;
mod refused;
mod reported;
mod restored;
mod scenarios;
mod screened;
mod shared;
mod tiers;
mod unpublished;
mod world;
