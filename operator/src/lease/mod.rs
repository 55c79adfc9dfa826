//! Who leads, until when, and how a leader that does not know that it is none any more is kept out.

mod decide;
mod fence;
mod holder;
mod renewal_loop;
mod term;

pub use decide::{LeaseDecision, SeenLease, SetBack, decide};
pub use fence::{EPOCH_ANNOTATION, StampLook, StampState, epoch_of, look_at_stamps};
pub(crate) use holder::LEASE;
pub use holder::{LeaseError, LeaseSession, LeaseTurn};
pub use renewal_loop::{LeaseEnd, keep};
pub use term::{LeaseState, LeaseTerm, TermWriter, term};
