//! The verb `names`: asks a resolver for names at a rate, connects to the address of each answer in the moment in which it comes,
//! and to an address that no answer has named, and counts what became of all this.
//!
//! Each name is asked for once, so that no answer finds the kernel prepared by another one.

mod connect;
mod number;
mod run;

pub use number::{name_of, named_addresses};
pub use run::{NamesArgs, NamesOutcome, report};
