//! Which uplink of an isolated node may be up, and the way from one to another.
//!
//! [`turn`] is a pure function: from the memory and one reading of the links to the next memory and the acts that
//! are due. The agent writes the memory before it acts, reads again, and asks again, so that a crash at any step goes on from
//! there. No act brings a link up while a reading shows another uplink up.
//!
//! | module | for |
//! |---|---|
//! | [`domain`] | which links count, and which of them are one uplink |
//! | [`selection`] | which uplink is preferred |
//! | [`memory`] | the memory that outlives restarts |
//! | [`switch`] | one turn: the phases of a switch |
//! | [`inputs`] | what a turn depends on besides the memory |
//! | [`act`] | acts on links, and the way back |
//! | [`finding`] | the finding for the report |

pub mod act;
pub mod domain;
pub mod finding;
pub mod inputs;
pub mod memory;
pub mod selection;
pub mod switch;
#[cfg(test)]
mod tests;

pub use act::{Restoration, UplinkAct, restore};
pub use domain::{LinkDomain, Uplink};
pub use finding::IsolationFinding;
pub use inputs::{ConfirmAnswer, IsolationInputs, RemoteUse};
pub use memory::{AllowedUplinks, IsolationMemory, SwitchPhase};
pub use switch::{IsolationTurn, turn};
