//! The release gate: what would let pods go is told apart from what merely changes them, and too much at once waits
//! for a person.

mod approval;
mod entries;
mod ground;
mod judge;
mod restored;
mod words;

pub use entries::read_entries;
pub(crate) use judge::Gate;
pub use words::{Approval, Cause, Held, HeldUntil, Subject};
