//! The last step: what became of users' objects, in their statuses and in Events.

mod events;
mod herald;
mod limiter;
mod notices;
mod series;
mod status;
mod write;

pub use events::{Notice, Regarding, Tone};
pub use herald::{Herald, QUEUE, Telling, herald};
pub use limiter::Limiter;
pub use notices::{between, of_held, of_nodes};
pub use status::{Desired, Key, StatusBody, desired, known};
pub use write::{Reporter, Said};
