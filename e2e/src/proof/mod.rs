//! From packets to a verdict, and what tests use to get one.
//!
//! | module | for |
//! |---|---|
//! | [`monitor`] | captures every packet that leaves a node, and counts it a second time |
//! | [`judge`] | decides which of these packets should not have left |
//! | [`harness`] | a lab for each test, pods that send, and proofs |
//! | [`demo`] | the main job from begin to end, as claims that were checked |

pub mod demo;
pub mod harness;
pub mod judge;
pub mod monitor;
