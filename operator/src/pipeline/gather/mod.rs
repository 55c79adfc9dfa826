//! The step that reads everything that a compile depends on, as plain values in a fixed order. It writes nothing.

mod approvals;
mod awaited;
mod confirm;
mod credentials;
mod definition;
mod inputs;
mod poison;
mod possession;
mod ranges;
mod step;
mod taken;
mod trust;
mod unanswered;

pub use approvals::approvals;
pub use confirm::{KnownRevisions, LiveObjects, confirm};
pub(super) use credentials::KnownCredentials;
pub use definition::{PolicyDefinition, definitions};
pub use inputs::ClusterInputs;
pub(crate) use inputs::config_map;
pub(super) use possession::ProvedKeys;
pub use ranges::{FoundRanges, PodRanges, UnknownRange, found, join};
pub(super) use step::GatherStep;
pub use taken::ReadProblem;
