//! Taking Postern away in the order that opens nothing before it is released. Pure: what was read of the cluster is given,
//! what is to be done is the answer.
//!
//! Each step has what is left of it. A step begins when nothing is left of those before it, so a run that was interrupted is
//! begun again and goes on where it was.

mod act;
mod left;
mod pods;
mod reading;
mod result;
mod step;

pub use act::{RemovalAct, RemovedKind, acts};
pub use left::{Waiting, left, unreleased};
pub use pods::{node_pod, plugin_patch};
pub use reading::{ObjectMark, UninstallReading};
pub use result::{StepResult, UninstallResult, by_hand};
pub use step::UninstallStep;
