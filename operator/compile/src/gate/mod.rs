//! The release gate: a change that would release pods is separated from other changes, and too much at once waits
//! for a person.

mod approval;
mod entries;
mod ground;
mod held;
mod judge;
mod restored;

pub use entries::read_entries;
pub use held::{Approval, ApprovalCause, ApprovalSubject, HeldUntil, PendingApproval};
pub(crate) use judge::ReleaseGate;
