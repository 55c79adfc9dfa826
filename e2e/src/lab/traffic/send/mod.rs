//! A pod that sends all the time, and says every second what became of it.

mod counts;
mod echo;
mod flow;
mod ping;
mod run;

pub use counts::{Line, Tally};
pub use run::{Protocol, SendArgs, run};
