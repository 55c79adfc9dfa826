//! The demo: the main job end to end, told as claims that were checked.

mod cast;
mod claims;
mod conditions;
mod story;

pub use claims::{Claim, Claims};
pub use story::run;
