//! The proof: a lab of namespaces, a world that counts, and the cases.
//!
//! | module | for |
//! |---|---|
//! | [`lab`] | what `lab up` makes, what the verbs change, what `lab down` takes away |
//! | [`controlplane`] | a real API server in the lab, and what disturbs it |
//! | [`topology`] | the addresses of a lab |
//! | [`netns`], [`cgroup`], [`process`], [`command`], [`cni`] | the means: namespaces, control groups, programs, CNI plugins |
//! | [`world`] | the outside: echo, HTTP and DNS that say who asked |
//! | [`monitor`] | every packet that leaves a node, counted twice |
//! | [`judge`] | which of them should not have left |
//! | [`send`], [`probe`] | pods that send all the time, or ask once |
//! | [`forge`] | packets that no honest program sends |
//! | [`publisher`] | compiles and signs where there is no control plane |
//! | [`harness`] | what tests use |
//! | [`demo`] | the main job end to end, as claims that were checked |
//! | [`cli`] | the program `lab` |

pub mod cgroup;
pub mod cli;
pub mod cni;
pub mod command;
pub mod controlplane;
pub mod demo;
pub mod error;
pub mod forge;
pub mod harness;
pub mod judge;
pub mod lab;
pub mod monitor;
pub mod netns;
pub mod probe;
pub mod process;
pub mod publisher;
pub mod send;
pub mod topology;
pub mod world;

pub use error::LabError;
pub use harness::TestLab;

pub use lab::{Lab, PodOptions, UpOptions};
