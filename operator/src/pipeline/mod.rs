//! The pipeline: one list of steps, run again whenever something changed, never two runs at a time.
//!
//! | step | module | needs a client |
//! |---|---|---|
//! | keep stale leaders out | [`fence`] | yes |
//! | read the stores, what is published, and the memory | [`gather`] | only to be sure that what is gone is gone |
//! | compile | [`compile`] | no: pure |
//! | remember | [`memory`] | yes |
//! | sign | [`publish`] | no: pure |
//! | publish | [`publish`] | yes |
//! | report what became of it | [`statuses`] | yes |
//! | end the traces of what arrived | [`arrivals`] | no |
//!
//! [`run`] is the list, [`wake`] decides when it runs, [`gathered`] has what the steps hand on.

pub mod arrivals;
mod compile;
mod error;
mod fence;
pub mod gather;
mod gathered;
pub mod intents;
pub mod memory;
mod object_key;
mod outcome;
mod owned;
mod parts;
mod period;
pub mod publish;
mod run;
mod shown_envelope;
pub mod statuses;
mod wake;
mod write_backoff;

pub use error::PipelineError;
pub use object_key::ObjectKey;
pub use outcome::{IdleReason, RunOutcome};
pub use parts::PipelineParts;
pub use run::Pipeline;
pub use wake::keep_running;
pub use write_backoff::WriteBackoff;
