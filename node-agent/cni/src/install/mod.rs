//! Installation on a node: the program beside the cluster's own plugins, its entry behind theirs, and the way back.
//!
//! Everything is put in place by a rename, so that a runtime that reads at any moment sees the old file or the new one.
//! The program comes first and its entry second: an entry without a program fails every pod.
//! Beside the agent it goes on looking: what brings the cluster's configuration writes it anew whenever it likes.

mod command;
mod error;
mod list;
mod node;
mod place;
mod signals;
mod watch;

pub use command::InstallCommand;
pub use error::{ArgumentError, InstallError, ListError};
pub use node::NodePaths;
