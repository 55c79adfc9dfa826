//! The last step: what became of users' objects, in their statuses and in Events.
//!
//! | module | for | needs a client |
//! |---|---|---|
//! | [`step`] | what is reported, in order | yes |
//! | [`status`], [`unclaimed`] | from verdicts to statuses | no: pure |
//! | [`write`], [`limiter`] | the writes of statuses | yes |
//! | [`notices`], [`warnings`], [`events`], [`series`] | which Events there are | no: pure |
//! | [`queue`] | the writes of Events, beside the runs | yes |

mod events;
mod limiter;
mod notices;
mod queue;
mod series;
mod status;
mod step;
mod unclaimed;
mod warnings;
mod write;

pub use events::{Notice, Regarding, Tone};
pub use limiter::Limiter;
pub use notices::{between, of_held, of_nodes};
pub use queue::{EventQueue, EventWriter, QUEUE, event_queue};
pub use status::{Desired, Key, StatusBody, desired, known};
pub(super) use step::ReportStep;
pub(super) use unclaimed::unclaimed;
pub(super) use warnings::trust_repaired;
pub use write::{Reporter, Said};
