//! The ruleset against packets: what leaves, by what, and whom it leaves alone.
//!
//! Every run tries other worlds and packets. A failure names the seed; `POSTERN_SEED=N` runs it again.

mod explained;
mod model;
mod properties;
mod seeded;

pub(crate) use postern_host_testing::generate::{Dice, Scene};
