//! The pipeline: one list of steps, run again whenever something changed, never two runs at a time.
//!
//! | step | module | needs a client |
//! |---|---|---|
//! | look at the stores | [`gather`] | only to be sure that what is gone is gone |
//! | keep stale leaders out | [`publish`] | yes |
//! | compile | `postern_compile` | no: pure |
//! | remember | [`memory`] | yes |
//! | sign | [`publish`] | no: pure |
//! | publish | [`publish`] | yes |
//! | say what became of it | [`report`] | yes |
//! | end the traces of what arrived | [`arrivals`] | no |

pub mod arrivals;
mod error;
pub mod gather;
pub mod intents;
mod issue;
pub mod memory;
mod news;
mod outcome;
mod owned;
pub mod publish;
pub mod report;
mod round;
mod run;
mod wake;

pub use error::PipelineError;
pub use outcome::{Outcome, Why};
pub use run::{Pipeline, PipelineParts};
pub use wake::keep_running;

pub use postern_crds::names::{APPROVALS_CONFIG_MAP as APPROVALS, MEMORY_CONFIG_MAP as MEMORY};
