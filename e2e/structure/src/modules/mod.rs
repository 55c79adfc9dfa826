//! The modules of a target, the names in each, and the file that defines what a path names.

mod names;
mod paths;
mod tree;

pub(crate) use paths::{UsedPath, used_paths};
pub(crate) use tree::{Module, ModuleTree};
