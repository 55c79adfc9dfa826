//! Why a pod of a cluster leaves as it does, and what became of a policy, from objects that a person may read. Pure.
//!
//! The order of policies is the compiler's own; which exit is in use, and whether nodes carry it, is what the operator
//! wrote into the statuses.

mod exits;
mod pod;
mod policy;

pub use exits::NamedExit;
pub use pod::ExplainedPod;
pub(crate) use pod::considered_table;
pub use policy::ExplainedPolicy;
