//! The last step: what became of users' objects and of nodes, in statuses and in Events.
//!
//! | module | for | needs a client |
//! |---|---|---|
//! | [`step`] | what is reported, in order | no |
//! | [`status`], [`node_status`], [`fold`], [`unclaimed`], [`unshown`], [`gone`], [`refused_settings`] | from verdicts to statuses | no: pure |
//! | [`writer`], [`limiter`] | the writes of statuses, beside the runs | yes |
//! | [`notices`], [`warnings`], [`events`], [`series`], [`announcer`] | which Events there are | no: pure |
//! | [`queue`] | the writes of Events, beside the runs | yes |

mod announcer;
mod events;
mod fold;
mod gone;
mod limiter;
mod node_status;
mod notices;
mod queue;
mod refused_settings;
mod series;
mod status;
mod step;
mod unclaimed;
mod unshown;
mod warnings;
mod writer;

pub(super) use announcer::Announcer;
pub use events::{EventNotice, EventTarget, EventTone};
pub use limiter::Limiter;
pub use notices::{between, of_held, of_nodes};
pub use queue::{EventQueue, EventWriter, QUEUE, event_queue, write_once};
pub use refused_settings::refused_at_start;
pub use status::{DesiredStatus, StatusBody, desired, known};
pub(super) use step::ReportStep;
pub(super) use warnings::trust_repaired;
pub use writer::{StatusWriter, VerdictSender, status_writer};
