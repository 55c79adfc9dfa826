//! The demo: the main job end to end, as claims that were checked.

mod claims;
mod conditions;
mod pods;
mod scenario;

pub use claims::{Claim, Claims};
pub use scenario::run;
