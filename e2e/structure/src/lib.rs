//! The structure lint: the rules about files, names, floors and documents that neither the
//! compiler, clippy, cargo-deny nor typos can check.
//!
//! Each rule is a pure function from a [`Workspace`] to its [`Finding`]s, so that a unit test can
//! hand it a small bad workspace and watch it turn red.

mod error;
mod finding;
mod load;
mod module_files;
mod modules;
mod report;
mod rules;
mod rust_file;
#[cfg(test)]
mod sample;
mod workspace;

pub use error::LintError;
pub use finding::{Finding, Severity};
pub use load::load;
pub use report::{Detail, render};
pub use rules::check_all;
pub use rust_file::RustFile;
pub use workspace::{Dependency, DependencyKind, Package, TextFile, Workspace};
