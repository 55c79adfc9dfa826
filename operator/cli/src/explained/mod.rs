//! Why a pod of a cluster leaves as it does, what became of a policy, and what becomes of one packet, from objects that a
//! person may read. Pure.
//!
//! The order of policies is the compiler's own; which exit is in use, and whether nodes carry it, is what the operator
//! wrote into the statuses. A packet is judged by `postern_control::explained`, from the documents that agents act on.

mod documents;
mod exits;
mod pod;
mod policy;
mod question;

pub use documents::body;
pub use exits::NamedExit;
pub use pod::ExplainedPod;
pub(crate) use pod::considered_table;
pub use policy::ExplainedPolicy;
pub use question::{PacketError, packet_question};
