//! The proof that Postern keeps its promises: clusters of namespaces on one machine, and counts of what leaves them.
//!
//! | module | for |
//! |---|---|
//! | [`lab`] | nodes, pods, services and an outside world as namespaces and processes |
//! | [`cluster`] | a real API server in the lab, its clients, and what disturbs it |
//! | [`proof`] | every packet that leaves a node, which of them should not have left, and what tests use |
//! | [`cli`] | the program `lab` |

pub mod cli;
pub mod cluster;
pub mod lab;
pub mod proof;

pub use lab::{Lab, LabError, PodOptions, UpOptions};
pub use proof::harness::TestLab;
