//! Programs that send and answer: pods that send, single questions, forged packets, and the outside world.

pub mod forge;
pub mod probe;
pub mod send;
pub mod world;
