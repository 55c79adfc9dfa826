//! The program `lab`: arguments, one file for each verb, and how answers are printed.

mod foreground;
mod output;
mod progress;
mod start;
mod tables;
mod values;
mod verbs;

pub use output::Output;
pub use start::{Args, main};
