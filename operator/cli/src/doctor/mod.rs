//! Findings about a cluster, the gravest first, each with an act. Pure: the caller gives objects and the time.

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
