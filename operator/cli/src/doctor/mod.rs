//! What is wrong in a cluster and what to do about it, the gravest first. Pure: objects and the time are given.

mod action;
mod documents;
mod finding;
mod nodes;
mod objects;
mod operator;
mod report;
mod snapshot;

pub use finding::{DoctorFinding, Gravity};
pub use report::{DoctorReport, GravityCounts};
pub use snapshot::{DoctorSnapshot, KnownNode};
