//! The program `lab`: arguments, what each verb does, and how answers are printed.

mod args;
mod create;
mod plane;
mod print;
mod print_plane;
mod progress;
mod run;

pub(crate) use create::pod_name;

pub use args::Args;
pub use run::main;
