//! Installation on a node: the program beside the cluster's own plugins, its entry behind theirs, and the way back.
//!
//! Everything is put in place by a rename, so that a runtime that reads at any moment sees the old file or the new one.
//! The program comes first and its entry second: an entry without a program fails every pod.

mod command;
mod error;
mod list;
mod place;

pub use command::{Command, Done};
pub use error::{ArgumentError, InstallError, ListError};
