//! The first step: everything that a compile depends on, as plain values in a fixed order.

mod approvals;
mod confirm;
mod definition;
mod inputs;
mod poison;
mod ranges;
mod taken;
mod trust;

pub use approvals::approvals;
pub use confirm::{Live, confirm, is_doubtful};
pub use definition::{Definition, definitions};
pub use inputs::{Inputs, gather};
pub(crate) use inputs::{config_map, sizes};
pub use ranges::{Found, Pods, Unknown, found, join};
pub use taken::Problem;
