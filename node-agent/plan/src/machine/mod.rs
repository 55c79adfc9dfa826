//! The state machine of a scope: [`state`], [`event`], the transitions in one [`table`], and what may flow in each
//! state, its [`posture`]. `docs/state-machine.md` is printed from the table.

pub mod event;
pub mod posture;
pub mod print;
pub mod state;
pub mod table;

pub use event::Event;
pub use posture::Posture;
pub use state::{Cause, State, StateKind};
pub use table::{Row, TABLE, step};
