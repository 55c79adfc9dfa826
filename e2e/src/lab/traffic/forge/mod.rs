//! Packets that no honest program sends: with any source, with impossible flags, in frames of one's own.

mod bytes;
mod run;

pub use run::{ForgeVerb, run};
