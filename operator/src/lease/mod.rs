//! Who leads, until when, and how a leader that does not know that it is none any more is kept out.

mod decide;
mod fence;
mod holder;
mod keep;
mod term;

pub use decide::{Decision, Sight, decide};
pub use fence::{EPOCH_ANNOTATION, Look, Stamped, epoch_of, stamp};
pub(crate) use holder::LEASE;
pub use holder::{LeaseError, Session, Turn};
pub use keep::{Ended, keep};
pub use term::{LeaseState, Term, TermWriter, term};
