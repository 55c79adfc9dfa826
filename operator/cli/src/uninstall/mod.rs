//! Plans the removal of Postern: no step opens a pod before its release. The functions are pure and map a reading of the cluster
//! to acts.
//!
//! A step starts when `left` of all earlier steps is empty, so that an interrupted run can be repeated.

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
