//! What a node does with one packet, and which rule decides, computed from the body that the node acts on.
//!
//! | module | for |
//! |---|---|
//! | `node` | a node, of which only its body is known or that has it in force, and the way of a packet through it |
//! | `first_packet` | the packet, and whose it is |
//! | `leg` | what becomes of a packet on one node |
//! | `cause` | why, in the words of policies, exits and the cluster |
//! | `names` | what the forwarder of the node does with a question for a name |

mod cause;
mod first_packet;
mod leg;
mod names;
mod node;

pub use cause::{Cause, ExitLimit, RuleTier};
pub use first_packet::{BoundPod, FirstPacket};
pub use leg::{LegEnd, NftRule, NodeLeg, TunnelEntry};
pub use names::NameAnswer;
pub use node::{NodeInForce, NodeModel};
