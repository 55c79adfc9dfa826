//! The rules that every host keeps, as cases that run on any of them: on the fake here, on the kernel from
//! `postern-linux` and from the end-to-end suite. A rule of the fake that no case proves is a guess.
//!
//! A case gets a host of its own, empty but for `lo`, and an [`OtherProgram`], which changes the
//! host as administrators and other programs do. [`contract_tests`](crate::contract_tests) makes one test of each case.

mod case;
pub mod firewall;
pub mod flow;
pub mod grant;
pub mod link;
mod list;
pub mod lock;
pub mod route;
mod sample;
pub mod tunnel;

pub use case::{CaseResult, DEVICE, OtherProgram, device};
pub(crate) use case::{refused, tunnel_link, tunnel_up};
pub use sample::ruleset;
