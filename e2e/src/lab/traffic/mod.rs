//! Programs that send and answer: pods that send, single questions, names at a rate, forged packets, and the outside world.

pub mod forge;
pub mod names;
pub mod probe;
pub mod send;
pub mod world;
