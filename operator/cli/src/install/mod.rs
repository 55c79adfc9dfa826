//! Whether a cluster can have Postern, before anything is installed. Pure: what was read of the cluster is given.
//!
//! A fact that only a node knows is `Unknown` until an agent runs there and reports it.

mod check;
mod definitions;
mod network;
mod node_facts;
mod nodes;
mod ports;
mod ranges;
mod reading;
mod report;
mod rights;
mod version;

pub use check::{CheckResult, InstallCheck};
pub use reading::{AccessRight, InstallReading, ReadPart, RightAnswer, wanted_rights};
pub use report::{InstallReport, TunnelNumbers};
