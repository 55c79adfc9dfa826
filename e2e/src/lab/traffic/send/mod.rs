//! The program of a pod that sends all the time, and writes every second what was sent and answered.

mod counts;
mod echo;
mod flow;
mod ping;
mod run;

pub use counts::{Heard, Line, Tally};
pub use run::{Protocol, SendArgs, run};
