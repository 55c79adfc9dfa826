//! What becomes of one packet of a pod, and which rule decides: by the bodies that are published, or by what a node has in force. The
//! ruleset of the planner judges it. Nothing here asks a clock or the kernel.
//!
//! | module | for |
//! |---|---|
//! | `question` | which packet |
//! | `packet` | the answer, and how it is shown |
//! | `judging` | the answer by bodies |
//! | `in_force` | the answer of a node, with what only it knows |
//! | `sentence` | the answer in words |

mod in_force;
mod judging;
mod packet;
mod question;
mod sentence;

pub use in_force::{GrantedAddress, NodeExplanation, PendingIntent};
pub use packet::{ExplainedPacket, JudgingNode, PacketResult, PacketVerdict, ShownPacket};
pub use question::{
    AskedDestination, DestinationOrigin, PacketQuestion, PacketQuestionError, PacketTarget,
};
