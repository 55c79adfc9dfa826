//! What a node does with one packet, and which rule decides, computed from the body that the node acts on.
//!
//! | module | for |
//! |---|---|
//! | `node` | a node of which only its body is known, and the way of a packet through it |
//! | `leg` | what becomes of a packet on one node |
//! | `cause` | why, in the words of policies, exits and the cluster |
//! | `names` | what the forwarder of the node does with a question for a name |

mod cause;
mod leg;
mod names;
mod node;

pub use cause::{Cause, ExitLimit};
pub use leg::{LegEnd, NftRule, NodeLeg, TunnelEntry};
pub use names::NameAnswer;
pub use node::{BoundPod, FirstPacket, NodeModel};
