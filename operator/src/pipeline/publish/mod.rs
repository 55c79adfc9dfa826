//! The step that writes what nodes read: the trust root, the memory, the intents, and the objects beside them.
//!
//! | module | for | needs a client |
//! |---|---|---|
//! | [`step`] | the order of the writes | yes |
//! | [`planning`], [`plan`], [`sign`] | which intents are written, and how | no: pure |
//! | [`writer`] | the write of one object: only as the leader, each with its own back-off | yes |
//! | [`intents`] | the writes of intents | yes |
//! | [`cleanup`] | reports to make, what belonged to nodes that are gone, taints | yes |
//! | [`trust`] | the trust root that agents mount | yes |

mod cleanup;
mod intents;
mod plan;
mod planning;
mod sign;
mod step;
mod taint;
mod tally;
mod trust;
mod writer;

pub use cleanup::{ObjectCleanup, ShownObject, clean_up, cleanup};
pub use intents::publish_intents;
pub use plan::{PlannedWrite, WriteMethod, plan};
pub use sign::{KeySetToShow, resigned, spec};
pub(super) use step::PublishStep;
pub use taint::{untaint, without_taint};
pub use tally::{Tallies, Tally};
pub use trust::{TrustRootWrite, keep_trust};
pub(crate) use writer::AT_ONCE;
pub use writer::{WriteAttempt, Writer};
